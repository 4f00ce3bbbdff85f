"""L2P's pool equals a loop over images; its keys learn from the cosine term alone."""

from __future__ import annotations

import pytest
import torch
from slow_vit import slow_blocks, slow_cosine, slow_tokens

from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.strategies.prompts import PromptEncoder, PromptPool


def make_pool(**options) -> PromptPool:
    torch.manual_seed(0)
    return PromptPool(**{"width": 6, "pool_size": 5, "length": 2, "top_n": 3, **options})


@pytest.fixture
def encoder(tiny_model):
    torch.manual_seed(0)
    return PromptEncoder(tiny_model().encoder, PromptPool(width=48, top_n=2, length=3))


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_pool_equals_a_loop_over_images():
    pool, query = make_pool(pull=0.7).double(), torch.randn(4, 6, dtype=torch.float64)
    found = pool(query)
    pulls = []
    for n, q in enumerate(query):
        scores = [slow_cosine(q, key) for key in pool.keys]
        best = sorted(range(5), key=lambda m: -scores[m])[:3]
        expected = torch.cat([pool.prompts[m] for m in best])
        torch.testing.assert_close(found.tokens[n], expected)
        pulls.append(sum(scores[m] for m in best))
    torch.testing.assert_close(found.penalty, -0.7 * sum(pulls) / 4)


def test_keys_get_gradient_through_the_cosine_term_only():
    pool, query = make_pool(), torch.randn(4, 6)
    found = pool(query)
    found.tokens.sum().backward(retain_graph=True)
    assert pool.keys.grad is None
    assert pool.prompts.grad.abs().sum() > 0
    pool.prompts.grad = None
    found.penalty.backward()
    assert pool.keys.grad.abs().sum() > 0
    assert pool.prompts.grad is None


def test_pull_moves_the_chosen_keys_towards_the_query():
    pool, query = make_pool(top_n=1), torch.randn(1, 6)
    before, chosen = -pool(query).penalty, pool(query).tokens
    pool(query).penalty.backward()
    with torch.no_grad():
        pool.keys -= 0.5 * pool.keys.grad
    assert -pool(query).penalty > before
    assert torch.equal(pool(query).tokens, chosen)


def test_no_penalty_in_evaluation():
    assert make_pool().eval()(torch.randn(2, 6)).penalty is None


def test_encoder_equals_a_loop_over_images(encoder):
    vit, batch = encoder.vit.double(), images(3).double()
    encoder.double()
    features, penalty = encoder(batch)
    pulls = []
    for n, image in enumerate(batch):
        tokens = slow_tokens(vit, image)
        query = slow_blocks(vit, tokens)[0]
        scores = [slow_cosine(query, key) for key in encoder.prompts.keys]
        best = sorted(range(10), key=lambda m: -scores[m])[:2]
        prompts = torch.cat([encoder.prompts.prompts[m] for m in best]) + vit.pos_embed[0, 0]
        longer = torch.cat([tokens[:1], prompts, tokens[1:]])
        mean = sum(slow_blocks(vit, longer)[1 : 1 + 6]) / 6
        torch.testing.assert_close(features[n], mean)
        pulls.append(sum(scores[m] for m in best))
    torch.testing.assert_close(penalty, -sum(pulls) / 3)


@pytest.mark.parametrize("training", [True, False])
def test_an_image_does_not_depend_on_its_batch(encoder, training):
    encoder.train(training)
    batch = torch.cat([images(1), images(5, seed=1)])
    other = torch.cat([images(1), images(5, seed=2)])
    assert torch.equal(encoder(batch).features[0], encoder(other).features[0])


def test_query_is_the_features_of_the_plain_vit_without_gradient(encoder):
    queries = []
    encoder.prompts.register_forward_pre_hook(lambda _, given: queries.append(given[0]))
    batch = images(2)
    encoder(batch)
    torch.testing.assert_close(queries[0], encoder.vit(batch))
    assert not queries[0].requires_grad


def test_the_vit_stays_in_eval_mode(encoder):
    assert encoder.train().prompts.training
    assert not encoder.vit.training


def test_bf16_changes_no_choice(encoder):
    encoder.eval()
    chosen = []
    encoder.prompts.register_forward_hook(lambda _, __, found: chosen.append(found.tokens))
    exact = encoder(images(8)).features
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(images(8)).features.float()
    assert chosen[1].dtype == torch.float32
    assert torch.equal(chosen[0], chosen[1])
    assert (rounded - exact).norm() < 0.05 * exact.norm()


def test_prompts_on_prompts_are_an_error(encoder):
    with pytest.raises(HamError, match="it is a PromptEncoder"):
        PromptEncoder(encoder, PromptPool(width=48))


def test_more_choices_than_prompts_are_an_error():
    with pytest.raises(OptionError, match="top_n must be at least 1 and at most 5, but got 6"):
        make_pool(top_n=6)
