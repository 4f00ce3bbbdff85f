"""Derived random states: reproducible, apart from each other, invisible to the user's own."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from avalanche_ham.errors import OptionError
from avalanche_ham.seeding import derive, forked, generator, preserved


def draw() -> tuple[float, float, float]:
    """One number from each global generator."""
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def peek() -> tuple[float, float, float]:
    """The numbers that would come next, without taking them."""
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    values = draw()
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(pytorch)
    return values


def test_a_derived_seed_is_a_fixed_number_of_63_bits():
    assert derive(1, "train", 0) == 8207984602653118578
    assert all(0 <= derive(seed, "train", t) < 2**63 for seed in range(20) for t in range(20))


def test_a_seed_and_a_place_count_as_numbers_whatever_their_kind():
    expected = derive(3, "train", 2)
    assert derive(np.arange(5)[3], np.str_("train"), np.int64(2)) == expected
    assert derive(torch.tensor(3), "train", torch.tensor(2)) == expected


@pytest.mark.parametrize("seed", ["a", 1.0, None, True, [3]])
def test_what_is_no_whole_number_is_no_seed(seed):
    with pytest.raises(OptionError, match="seed must be a whole number, but got"):
        derive(seed, "train", 0)


def test_places_and_seeds_give_different_derived_seeds():
    places = [(s, *p) for s in (0, 1, 11) for p in (("train", 1), ("train", 11), ("1", 1), (1, 1))]
    assert len({derive(*place) for place in places}) == len(places)


def test_a_generator_is_that_of_its_place_and_leaves_the_global_one_alone():
    before = peek()
    first, same, other = (torch.rand(4, generator=generator(3, p)) for p in ("a", "a", "b"))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert peek() == before


def test_a_forked_state_is_the_same_each_time_whatever_came_before():
    with forked(5, "train", 2):
        first = draw()
    draw()
    with forked(5, "train", 2):
        again = draw()
    with forked(5, "train", 3):
        other = draw()
    assert first == again
    assert all(x != y for x, y in zip(first, other, strict=True))


@pytest.mark.parametrize("context", [preserved, lambda: forked(1, "train", 0)])
def test_the_user_s_state_comes_back_also_after_an_exception(context):
    before = peek()
    with context():
        draw()
    assert peek() == before
    with pytest.raises(KeyError), context():
        draw()
        raise KeyError
    assert peek() == before


def test_a_preserved_state_goes_on_from_where_it_was():
    expected = peek()
    with preserved():
        assert draw() == expected
    assert peek() == expected


def test_forks_nest():
    with forked(1, "outer"):
        draw()
        expected = peek()
        with forked(2, "inner"):
            draw()
        assert draw() == expected
