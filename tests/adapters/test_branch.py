"""The trainable branch: its start, its slots, its limits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avalanche_ham.adapters.branch import LowRankBranch, low_rank_branches
from avalanche_ham.errors import OptionError

WIDTH = 6  # of a token; a fused qkv maps it to 3 * WIDTH


def fused(**options) -> LowRankBranch:
    """A branch on a fused qkv whose B is 1, 2, 3, ..."""
    branch = LowRankBranch(WIDTH, 3 * WIDTH, 2, **options)
    with torch.no_grad():
        branch.b.copy_(torch.arange(1.0, 1 + branch.b.numel()).view_as(branch.b))
    return branch


def test_a_fresh_branch_is_the_zero_update_and_its_input_factor_follows_lora():
    torch.manual_seed(0)
    branch = LowRankBranch(100, 300, 16)
    a, b = branch.factors()
    assert torch.equal(b, torch.zeros(300, 16))
    bound = 0.1
    assert a.shape == (16, 100) and a.abs().max() <= bound
    assert float(a.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert abs(float(a.detach().mean())) < 0.005


def test_slots_are_blocks_placed_in_their_own_rows_and_columns():
    branch = fused(slots=("q", "v"))
    a, b = branch.factors()
    expected = torch.zeros(3 * WIDTH, 4)
    expected[:WIDTH, :2] = branch.b[0]
    expected[2 * WIDTH :, 2:] = branch.b[1]
    assert torch.equal(b, expected)
    assert torch.equal(a, branch.a) and a.shape == (4, WIDTH)
    q = branch.b[0] @ branch.a[:2]
    v = branch.b[1] @ branch.a[2:]
    by_hand = torch.cat([q, torch.zeros(WIDTH, WIDTH), v])
    torch.testing.assert_close(b @ a, by_hand)


def test_the_order_in_which_slots_are_named_keeps_each_factor_with_its_slot():
    branch = fused(slots=("v", "q"))
    a, b = branch.factors()
    by_hand = torch.cat(
        [branch.b[1] @ branch.a[2:], torch.zeros(WIDTH, WIDTH), branch.b[0] @ branch.a[:2]]
    )
    torch.testing.assert_close(b @ a, by_hand)


def test_slots_with_a_shared_input_use_one_input_factor():
    branch = fused(slots=("k", "v"), shared_input=True)
    a, b = branch.factors()
    assert a.shape == (2, WIDTH)
    expected = torch.cat([torch.zeros(WIDTH, 2), branch.b[0], branch.b[1]])
    assert torch.equal(b, expected)


@pytest.mark.parametrize("slots", [None, ("q",), ("q", "v"), ("q", "k", "v")])
def test_applying_a_branch_is_multiplying_with_its_factors(slots):
    branch = fused(slots=slots)
    x = torch.randn(3, 4, WIDTH)
    a, b = branch.factors()
    torch.testing.assert_close(branch(x), x @ (b @ a).T)


def test_only_b_trains_if_the_input_factor_is_not_to():
    branch = LowRankBranch(WIDTH, WIDTH, 2, train_input=False)
    assert not branch.a.requires_grad and branch.b.requires_grad


def test_the_maker_gives_a_branch_of_the_layer_s_type():
    layer = nn.Linear(4, 5, dtype=torch.float64)
    branch = low_rank_branches(3)("any", layer)
    assert branch.a.dtype == torch.float64
    assert branch.a.shape == (3, 4) and branch.b.shape == (1, 5, 3)


@pytest.mark.parametrize("rank", [0, -1, 5])
def test_a_rank_outside_the_layer_s_size_is_refused_with_the_limit(rank):
    with pytest.raises(OptionError, match=rf"rank must be between 1 and 4.*got {rank}"):
        LowRankBranch(4, 12, rank)


@pytest.mark.parametrize("slots", [(), ("q", "x"), ("o",), ("q", "q")])
def test_unknown_or_repeated_slots_are_refused(slots):
    with pytest.raises(OptionError, match="slots must be some of q, k, v, each once"):
        LowRankBranch(WIDTH, 3 * WIDTH, 2, slots=slots)


def test_slots_are_refused_on_a_layer_that_is_no_fused_qkv():
    with pytest.raises(OptionError, match="20 outputs"):
        LowRankBranch(WIDTH, 20, 2, slots=("q", "v"))


@pytest.mark.parametrize("sizes", [(6, 24), (24, 6), (6, 6)])
def test_slots_are_refused_where_the_layer_is_no_fused_qkv(sizes):
    with pytest.raises(OptionError, match="None where a layer has .* no fused qkv"):
        LowRankBranch(*sizes, 2, slots=("q", "v"))
