"""The factors of a change and what can be done with several of them."""

from __future__ import annotations

import pytest
import torch
from reference import product
from reference_adapters import random_change, random_update

from avalanche_ham.adapters.low_rank import LowRank, concatenate, dense, sum_updates

SHAPE = (5, 7)


def test_the_dense_change_is_the_product_entry_by_entry():
    change = random_change(SHAPE, 3, seed=0)
    torch.testing.assert_close(dense(change), torch.tensor(product(change), dtype=torch.float64))
    assert change.rank == 3


def test_a_dense_change_is_given_as_it_is():
    change = torch.randn(SHAPE)
    assert dense(change) is change


def test_concatenated_factors_give_the_sum_of_products_without_cross_terms():
    parts = [random_change(SHAPE, rank, seed=rank) for rank in (1, 4, 2)]
    whole = concatenate(parts)
    expected = sum(torch.tensor(product(part), dtype=torch.float64) for part in parts)
    torch.testing.assert_close(whole.dense(), expected)
    assert whole.rank == 7
    crossed = LowRank(sum(p.a[:1] for p in parts), sum(p.b[:, :1] for p in parts))
    assert not torch.allclose(whole.dense(), crossed.dense())


def test_updates_are_summed_layer_by_layer_even_if_one_lacks_a_layer():
    x, y = random_update(2, seed=1), random_update(3, seed=7)
    del y["second"]
    y["first"] = y["first"].dense()
    total = sum_updates([x, y])
    torch.testing.assert_close(total["first"], x["first"].dense() + y["first"])
    assert torch.equal(total["second"], x["second"].dense())


def test_summing_leaves_the_updates_alone():
    x = {"first": torch.ones(SHAPE)}
    sum_updates([x, x])
    assert torch.equal(x["first"], torch.ones(SHAPE))


def test_a_detached_copy_shares_neither_memory_nor_graph():
    change = LowRank(torch.randn(2, 3, requires_grad=True), torch.randn(4, 2, requires_grad=True))
    copy = change.detached()
    with torch.no_grad():
        change.a.zero_()
        change.b.zero_()
    assert copy.a.abs().min() > 0 and copy.b.abs().min() > 0
    assert not copy.a.requires_grad and not copy.b.requires_grad


@pytest.mark.parametrize("rank", [0, 1])
def test_a_change_of_rank_nought_or_one_is_a_change(rank):
    change = random_change(SHAPE, rank, seed=3)
    assert change.dense().shape == SHAPE
    assert torch.linalg.matrix_rank(change.dense()) == rank
