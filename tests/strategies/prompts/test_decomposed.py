"""CODA's components equal a loop; slices start orthonormal; old ones get no gradient."""

from __future__ import annotations

import logging

import pytest
import torch
from slow_vit import slow_blocks, slow_cosine, slow_tokens

from avalanche_ham.errors import OptionError
from avalanche_ham.strategies.prompts import DecomposedPrompts, PromptEncoder
from avalanche_ham.strategies.prompts.decomposed import deviation, orthonormal_rows


def make_prompts(tasks: int = 2, **options) -> DecomposedPrompts:
    torch.manual_seed(0)
    given = {
        "width": 12,
        "heads": 2,
        "depth": 3,
        "components": 3,
        "length": 4,
        "blocks": 2,
    }
    prompts = DecomposedPrompts(**{**given, **options})
    for _ in range(tasks):
        prompts.grow()
    return prompts


def slow_prompt(prompts: DecomposedPrompts, query: torch.Tensor, block: int) -> torch.Tensor:
    """sum_m cos(q * A_m, K_m) P_m, shape (L, d), for one query (d,)."""
    total = 0
    rows = (prompts.keys.rows(), prompts.attention.rows(), prompts.prompts.rows())
    for key, attention, component in zip(*rows):
        weight = slow_cosine(query * attention[block], key[block])
        total = total + weight * component[block]
    return total


def perturb(prompts: DecomposedPrompts) -> None:
    """Stand in for training: rows that are neither unit nor orthogonal."""
    with torch.no_grad():
        for slices in (prompts.keys, prompts.attention, prompts.prompts):
            slices.new += torch.randn_like(slices.new)


def test_prefixes_equal_a_loop_over_images_and_components():
    prompts = make_prompts().double()
    perturb(prompts)
    query = torch.randn(3, 12, dtype=torch.float64)
    prefix = prompts(query).prefix
    assert sorted(prefix) == [0, 1]
    for n, q in enumerate(query):
        for block, (keys, values) in prefix.items():
            mixed = slow_prompt(prompts, q, block)  # rows 0, 1 are keys, 2, 3 values
            for head in range(2):
                part = slice(6 * head, 6 * head + 6)
                torch.testing.assert_close(keys[n, head], mixed[:2, part])
                torch.testing.assert_close(values[n, head], mixed[2:, part])


def test_encoder_equals_a_loop_over_images(tiny_model):
    prompts = make_prompts(width=48, heads=3)
    encoder = PromptEncoder(tiny_model().encoder, prompts).double()
    batch = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    features = encoder(batch).features
    for n, image in enumerate(batch):
        tokens = slow_tokens(encoder.vit, image)
        query = slow_blocks(encoder.vit, tokens)[0]
        prefix = {}
        for block in range(2):
            mixed = slow_prompt(prompts, query, block)
            split = mixed.reshape(4, 3, 16).transpose(0, 1)  # (heads, L, d_h)
            prefix[block] = (split[:, :2], split[:, 2:])
        torch.testing.assert_close(features[n], slow_blocks(encoder.vit, tokens, prefix)[0])


def test_old_components_receive_no_gradient():
    prompts = make_prompts()
    before = [s.old.clone() for s in (prompts.keys, prompts.attention, prompts.prompts)]
    found = prompts(torch.randn(4, 12))
    loss = sum((t * torch.randn_like(t)).sum() for pair in found.prefix.values() for t in pair)
    (loss + found.penalty).backward()
    optimizer = torch.optim.AdamW(prompts.parameters(), lr=0.1, weight_decay=0.5)
    optimizer.step()
    for slices, old in zip((prompts.keys, prompts.attention, prompts.prompts), before):
        assert slices.new.grad.abs().sum() > 0
        assert not slices.old.requires_grad and slices.old.grad is None
        assert torch.equal(slices.old, old)
    assert sum(p.numel() for p in prompts.parameters()) == 3 * 2 * (12 + 12 + 4 * 12)


def test_old_components_take_part():
    prompts, query = make_prompts(), torch.randn(2, 12)
    with_old = prompts(query).prefix[0][0]
    for slices in (prompts.keys, prompts.attention, prompts.prompts):
        slices.old = slices.old[:0]
    assert not torch.allclose(with_old, prompts(query).prefix[0][0])


def test_a_new_slice_is_orthonormal_to_itself_and_to_all_before():
    prompts = make_prompts(tasks=1)
    for _ in range(2):
        perturb(prompts)
        prompts.grow()
        for slices in (prompts.keys, prompts.attention, prompts.prompts):
            for block in range(2):
                new, old = slices.new[:, block].flatten(1), slices.old[:, block].flatten(1)
                torch.testing.assert_close(new @ new.T, torch.eye(3), atol=1e-5, rtol=0)
                assert (new @ old.T).abs().max() < 1e-5


def test_orthonormal_rows_equal_gram_schmidt_on_the_same_draws():
    earlier = torch.randn(2, 7)
    torch.manual_seed(5)
    rows = orthonormal_rows(3, earlier)
    torch.manual_seed(5)
    draws, basis = torch.randn(3, 7, dtype=torch.float64), []
    for vector in (*earlier.double(), *draws):
        for unit in basis:
            vector = vector - (vector @ unit) * unit
        basis.append(vector / vector.norm())
    torch.testing.assert_close(rows, torch.stack(basis[2:]).float())


def test_a_full_space_is_logged_once_and_survived(caplog):
    with caplog.at_level(logging.WARNING):
        prompts = make_prompts(tasks=4)
        assert not caplog.records  # 12 components fit 12 dimensions
        prompts.grow()
        prompts.grow()
    assert [r.message.startswith("15 components do not fit") for r in caplog.records] == [True]
    new = prompts.keys.new[:, 0]
    torch.testing.assert_close(new @ new.T, torch.eye(3), atol=1e-5, rtol=0)
    new = prompts.prompts.new[:, 0].flatten(1)  # longer rows still have room
    assert (new @ prompts.prompts.old[:, 0].flatten(1).T).abs().max() < 1e-5


def test_penalty_equals_a_loop_over_entries():
    prompts = make_prompts(ortho=0.3).double()
    perturb(prompts)
    total = 0.0
    for slices in (prompts.keys, prompts.attention, prompts.prompts):
        rows = slices.rows().flatten(2)
        for block in range(2):
            for i in range(6):
                for j in range(6):
                    product = rows[i, block] @ rows[j, block]
                    total += float((product - int(i == j)).detach().square()) / 36
    penalty = prompts(torch.randn(1, 12, dtype=torch.float64)).penalty
    assert penalty.item() == pytest.approx(0.3 * total)


def test_penalty_is_zero_at_the_start_and_absent_in_evaluation():
    prompts = make_prompts()
    query = torch.randn(2, 12)
    assert prompts(query).penalty.item() < 1e-10
    assert prompts.eval()(query).penalty is None
    assert make_prompts(ortho=0.0)(query).penalty is None
    assert float(deviation(torch.eye(3))) == 0.0


def test_before_any_task_there_is_no_prefix():
    assert make_prompts(tasks=0)(torch.randn(2, 12)).prefix is None


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("length", 5, "even number"),
        ("components", 13, "at most 12"),
        ("blocks", 0, "at least 1"),
    ],
)
def test_options_outside_their_range_are_errors(option, value, message):
    with pytest.raises(OptionError, match=message):
        make_prompts(**{option: value})
