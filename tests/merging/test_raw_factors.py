"""Merging raw factors: PAM's rules of two, against their closed forms."""

from __future__ import annotations

import pytest
import reference
import torch

from avalanche_ham.adapters import LowRank
from avalanche_ham.merging import Dare, Linear, MagMax, Tall, Ties
from avalanche_ham.merging.raw_factors import merge_raw_factors


@pytest.fixture
def two():
    return [reference.random_update(seed) for seed in (1, 2)]


@pytest.mark.parametrize(
    ("rule", "scale", "closed"),
    [
        (Linear(), 0.5, lambda u, v: (u + v) / 2),
        (Ties(density=0.9), 1.0, lambda u, v: reference.ties_of_two(u, v, 0.9)),
        (Ties(density=0.5), 1.0, lambda u, v: reference.ties_of_two(u, v, 0.5)),
        (Tall(0.1), 0.5, lambda u, v: reference.tall_of_two(u, v, 0.1)),
        (MagMax(), 1.0, lambda u, v: torch.where(u.abs() > v.abs(), u, v)),
    ],
    ids=["mean", "ties 0.9", "ties 0.5", "tall", "magmax"],
)
def test_the_rules_of_two_are_their_closed_forms(two, rule, scale, closed):
    found = merge_raw_factors(two, rule, scale=scale)
    assert found.keys() == two[0].keys()
    for name, pair in found.items():
        torch.testing.assert_close(pair.a, closed(two[0][name].a, two[1][name].a))
        torch.testing.assert_close(pair.b, closed(two[0][name].b, two[1][name].b))


def test_the_general_ties_agrees_with_that_of_two(two):
    for u, v in zip(two[0].values(), two[1].values()):
        expected = reference.ties([u.a, v.a], [1, 1], 0.9)
        torch.testing.assert_close(reference.ties_of_two(u.a, v.a, 0.9), expected)


def test_slots_merge_each_for_itself():
    slots = ("q", "v")
    updates = [{"qkv": reference.wide_change(9, 5, 2, slots, seed)} for seed in (1, 2)]
    (found,) = merge_raw_factors(updates, Ties(density=0.5), slots=slots).values()
    for slot in slots:
        one, two = (reference.slot_of(update["qkv"], slots, slot) for update in updates)
        merged = reference.slot_of(found, slots, slot)
        torch.testing.assert_close(merged.a, reference.ties_of_two(one.a, two.a, 0.5))
        torch.testing.assert_close(merged.b, reference.ties_of_two(one.b, two.b, 0.5))
    assert found.b.shape == (9, 4) and (found.b[3:6] == 0).all()


def test_every_matrix_has_a_place_of_its_own_for_rules_that_draw():
    ones = LowRank(torch.ones(4, 8), torch.ones(8, 4))
    update = {"first": ones, "second": ones}
    found = merge_raw_factors([update], Dare(density=0.5))
    first, second = found["first"], found["second"]
    matrices = [first.a, first.b.T, second.a, second.b.T]
    for i, one in enumerate(matrices):
        assert not any(torch.equal(one, other) for other in matrices[i + 1 :])
