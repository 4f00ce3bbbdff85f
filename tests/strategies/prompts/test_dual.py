"""DualPrompt's prefixes: where every element lands, who is chosen, what stays."""

from __future__ import annotations

import itertools

import pytest
import torch
from slow_vit import slow_blocks, slow_cosine, slow_tokens

from avalanche_ham.errors import OptionError
from avalanche_ham.strategies.prompts import DualPrompts, PromptEncoder, as_prefix


def make_prompts(tasks: int = 3, **options) -> DualPrompts:
    torch.manual_seed(0)
    given = {
        "width": 6,
        "heads": 2,
        "depth": 4,
        "general_length": 2,
        "expert_length": 3,
    }
    prompts = DualPrompts(**{**given, "copy_previous": False, **options})
    for _ in range(tasks):
        prompts.grow()
    return prompts


@pytest.fixture
def encoder(tiny_model):
    prompts = make_prompts(width=48, heads=3, depth=3)
    return PromptEncoder(tiny_model().encoder, prompts)


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_every_prefix_element_lands_where_it_should():
    """Public ports reshape instead of moving the axes and so mix positions with heads."""
    shape = (2, 3, 2, 5, 4, 7)  # image, block, key or value, position, head, dimension
    prompts = torch.arange(torch.tensor(shape).prod()).view(shape)
    prefix = as_prefix(prompts, (2, 5, 8))
    for n, i, s, p, h, c in itertools.product(*map(range, shape)):
        assert prefix[(2, 5, 8)[i]][s][n, h, p, c] == prompts[n, i, s, p, h, c]
    assert prefix[2][0].shape == (2, 4, 5, 7)


def test_general_and_expert_prefixes_sit_in_their_blocks():
    prompts = make_prompts()
    prefix = prompts(torch.randn(4, 6)).prefix
    assert sorted(prefix) == [0, 1, 2, 3]
    for block, kind in itertools.product(range(4), range(2)):
        own = prompts.general[block] if block < 2 else prompts.experts.new[0, block - 2]
        for head in range(2):
            assert torch.equal(prefix[block][kind][0, head], own[kind, :, head])


def test_evaluation_takes_the_expert_of_the_nearest_key():
    prompts = make_prompts().eval().double()
    query = torch.randn(6, 6, dtype=torch.float64)
    found, chosen = prompts(query), set()
    for n, q in enumerate(query):
        scores = [slow_cosine(q, key) for key in prompts.keys.rows()]
        task = max(range(3), key=lambda t: scores[t])
        chosen.add(task)
        expert = prompts.experts.rows()[task]
        assert torch.equal(found.prefix[3][1][n], expert[1, 1].transpose(0, 1))
    assert len(chosen) > 1
    assert found.penalty is None


def test_training_uses_and_pulls_the_newest_expert():
    prompts, query = make_prompts(pull=0.5).double(), torch.randn(4, 6, dtype=torch.float64)
    found = prompts(query)
    pulls = [slow_cosine(q, prompts.keys.new[0]) for q in query]
    torch.testing.assert_close(found.penalty, -0.5 * sum(pulls) / 4)
    sum(t.sum() for pair in found.prefix.values() for t in pair).backward()
    assert prompts.keys.new.grad is None
    assert prompts.experts.new.grad.abs().sum() > 0
    assert prompts.general.grad.abs().sum() > 0


@pytest.mark.parametrize("training", [True, False])
def test_encoder_equals_a_loop_over_images(encoder, training):
    encoder.double().train(training)
    batch, vit, prompts = images(3).double(), encoder.vit, encoder.prompts
    features = encoder(batch).features
    for n, image in enumerate(batch):
        tokens = slow_tokens(vit, image)
        query = slow_blocks(vit, tokens)[0]
        scores = [slow_cosine(query, key) for key in prompts.keys.rows()]
        task = 2 if training else max(range(3), key=lambda t: scores[t])
        layers = [
            *prompts.general,
            *prompts.experts.rows()[task],
        ]  # (2, L, heads, d_h) each
        prefix = {b: tuple(kv.transpose(0, 1) for kv in layer) for b, layer in enumerate(layers)}
        torch.testing.assert_close(features[n], slow_blocks(vit, tokens, prefix)[0])


def test_an_image_does_not_depend_on_its_batch(encoder):
    encoder.eval()
    batch = torch.cat([images(1), images(5, seed=1)])
    other = torch.cat([images(1), images(5, seed=2)])
    assert torch.equal(encoder(batch).features[0], encoder(other).features[0])


def test_a_new_expert_starts_as_a_copy_of_the_last_but_its_key_does_not():
    prompts = make_prompts(tasks=2, copy_previous=True)
    with torch.no_grad():
        prompts.experts.new += 1
        prompts.keys.new += 1
    prompts.grow()
    experts, keys = prompts.experts, prompts.keys
    assert torch.equal(experts.new[0], experts.old[-1])
    assert not torch.equal(experts.old[0], experts.old[1])
    assert experts.new.data_ptr() != experts.old[-1].data_ptr()
    assert not torch.equal(keys.new[0], keys.old[-1])


def test_keys_start_close_together_above_zero():
    keys = make_prompts(tasks=6).keys.rows()
    assert keys.min() >= 0 and keys.max() < 0.01 and keys.std() > 0.002


def test_blocks_past_the_depth_are_left_out():
    assert list(make_prompts(depth=3).expert_at) == [2]
    assert list(make_prompts(depth=12).expert_at) == [2, 3, 4]


def test_no_block_left_for_experts_is_an_error():
    with pytest.raises(OptionError, match="general_blocks must be from 0 to 1, but got 2"):
        make_prompts(depth=2)


def test_before_any_task_the_general_prefix_stands_alone():
    prompts = make_prompts(tasks=0)
    found = prompts(torch.randn(2, 6))
    assert sorted(found.prefix) == [0, 1]
    assert found.penalty is None
