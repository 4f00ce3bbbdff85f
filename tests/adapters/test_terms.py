"""Frozen terms: two ways to keep them, one meaning."""

from __future__ import annotations

import pytest
import torch
from reference_adapters import dense_weight, random_change

from avalanche_ham.adapters.branch import LowRankBranch
from avalanche_ham.adapters.terms import DenseTerms, LowRankTerms

SHAPE = (5, 7)
KINDS = (DenseTerms, LowRankTerms)


def weight() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def three_terms(kind: type):
    """Three terms of unequal rank, the middle one added to twice."""
    changes = [random_change(SHAPE, rank, seed=rank) for rank in (1, 3, 2, 4)]
    terms = kind(weight())
    for change, index in zip(changes, (0, 1, 2, 1), strict=True):
        terms.add(change, index)
    return terms, changes


@pytest.mark.parametrize("kind", KINDS)
def test_terms_are_added_onto_the_weight_with_their_own_coefficients(kind):
    terms, changes = three_terms(kind)
    coefficients = torch.tensor([0.5, -2.0, 1.25], dtype=torch.float64)
    scaled = [
        (0.5, changes[0]),
        (-2.0, changes[1]),
        (1.25, changes[2]),
        (-2.0, changes[3]),
    ]
    torch.testing.assert_close(terms.onto(weight(), coefficients), dense_weight(weight(), scaled))


def test_dense_and_low_rank_terms_are_the_same_weight_and_the_same_gradient():
    results = []
    for kind in KINDS:
        terms, _ = three_terms(kind)
        coefficients = torch.tensor([0.5, -2.0, 1.25], dtype=torch.float64, requires_grad=True)
        built = terms.onto(weight(), coefficients)
        probe = torch.linspace(-1, 1, built.numel(), dtype=torch.float64).view_as(built)
        (built * probe).sum().backward()
        results.append((built.detach(), coefficients.grad))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_term_is_given_back_without_its_coefficient(kind):
    terms, changes = three_terms(kind)
    middle = terms.term(1)
    middle = middle if isinstance(middle, torch.Tensor) else middle.dense()
    torch.testing.assert_close(middle, changes[1].dense() + changes[3].dense())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_brings_all_terms_into_fresh_ones(kind):
    terms, _ = three_terms(kind)
    fresh = kind(weight())
    fresh.load_state_dict(terms.state_dict())
    coefficients = torch.tensor([3.0, 1.0, -1.0], dtype=torch.float64)
    built = fresh.onto(weight(), coefficients)
    assert torch.equal(built, terms.onto(weight(), coefficients))


@pytest.mark.parametrize("kind", KINDS)
def test_terms_hold_nothing_that_trains(kind):
    terms, _ = three_terms(kind)
    assert not list(terms.parameters())


def test_a_built_weight_is_not_changed_by_terms_added_later():
    terms, _ = three_terms(DenseTerms)
    before = terms.term(1).clone()
    held = terms.stack
    terms.add(random_change(SHAPE, 2, seed=11), 1)
    assert torch.equal(held[1], before)
    assert not torch.equal(terms.term(1), before)


def test_low_rank_terms_refuse_a_dense_change():
    terms = LowRankTerms(weight())
    with pytest.raises(TypeError, match="low-rank"):
        terms.add(torch.zeros(SHAPE), 0)


@pytest.mark.parametrize("slots", [("q", "v"), ("k",), ("q", "k", "v"), None, "mixed"])
def test_columns_of_a_slot_alone_give_the_same_weight_and_gradient(slots):
    shape, rank = (9, 3), 2
    terms = LowRankTerms(torch.zeros(shape, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    changes = []
    for index in range(4):
        branch_slots = slots if slots != "mixed" else (("v", "q"), None)[index % 2]
        branch = LowRankBranch(shape[1], shape[0], rank, slots=branch_slots).double()
        with torch.no_grad():
            branch.b.normal_(generator=generator)
        changes.append(branch.factors().detached())
        terms.add(changes[-1], index)
    fast = torch.randn(4, dtype=torch.float64, generator=generator).requires_grad_()
    slow = fast.detach().clone().requires_grad_()
    base = torch.randn(shape, dtype=torch.float64, generator=generator)
    built = terms.onto(base, fast)
    expected = base + sum(c * x.dense() for c, x in zip(slow, changes, strict=True))
    torch.testing.assert_close(built, expected)
    probe = torch.randn(shape, dtype=torch.float64, generator=generator)
    (built * probe).sum().backward()
    (expected * probe).sum().backward()
    torch.testing.assert_close(fast.grad, slow.grad)
    for index, change in enumerate(changes):
        torch.testing.assert_close(terms.term(index).dense(), change.dense())


def test_columns_sorted_in_inference_mode_serve_training_afterwards():
    terms = LowRankTerms(torch.zeros(9, 3))
    terms.add(LowRankBranch(3, 9, 2, slots=("q", "v")).factors(), 0)
    scales = torch.ones(1, requires_grad=True)
    with torch.inference_mode():
        terms.onto(torch.zeros(9, 3), scales)
    terms.onto(torch.zeros(9, 3), scales).sum().backward()
    assert scales.grad is not None
