"""Sec. 3.2.2, Eq. 3."""

import pytest
import torch
from reference import cosine, product, random_update

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import UnknownNameError
from avalanche_ham.grouping import cosine_similarity, similarities


@pytest.fixture
def x():
    return random_update(0)["second"]


@pytest.fixture
def y():
    return random_update(1, rank=7)["second"]


def test_it_is_the_cosine_of_the_products(x, y):
    expected = cosine(product(x), product(y))
    assert abs(expected) > 0.01
    assert cosine_similarity(x, y) == pytest.approx(expected, rel=1e-12)


def test_dense_and_low_rank_forms_agree(x, y):
    expected = cosine_similarity(x, y)
    for pair in [(x.dense(), y), (x, y.dense()), (x.dense(), y.dense())]:
        assert cosine_similarity(*pair) == pytest.approx(expected, rel=1e-12)


def test_it_is_symmetric_and_blind_to_scale_but_not_to_sign(x, y):
    expected = cosine_similarity(x, y)
    assert cosine_similarity(y, x) == pytest.approx(expected, rel=1e-12)
    assert cosine_similarity(LowRank(3e-9 * x.a, x.b), y) == pytest.approx(expected)
    assert cosine_similarity(LowRank(-x.a, x.b), y) == pytest.approx(-expected)


@pytest.mark.parametrize("seed", range(20))
def test_a_change_is_exactly_1_to_itself_and_minus_1_to_its_opposite(seed):
    x = random_update(seed, dtype=torch.float32)["first"]
    assert cosine_similarity(x, x) == 1
    assert cosine_similarity(x, LowRank(-x.a, x.b)) == -1


def test_changes_of_disjoint_rows_are_orthogonal():
    a = torch.ones(1, 3)
    upper, lower = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    assert cosine_similarity(LowRank(a, upper), LowRank(a, lower)) == 0


def test_a_zero_change_is_like_nothing(x):
    zero = LowRank(x.a, torch.zeros_like(x.b))
    assert cosine_similarity(zero, x) == 0
    assert cosine_similarity(zero, zero) == 0
    assert cosine_similarity(x.dense(), torch.zeros(6, 10)) == 0


def test_small_float32_changes_are_compared_in_float64():
    x, y = (random_update(seed, dtype=torch.float32)["first"] for seed in (2, 3))
    expected = cosine(product(x), product(y))
    tiny = LowRank(1e-25 * x.a, 1e-15 * x.b)  # squares underflow in float32
    assert cosine_similarity(tiny, y) == pytest.approx(expected, rel=1e-5)


def test_similarities_compare_one_layer_of_every_group():
    update, groups = random_update(4), [random_update(s, rank=s) for s in (5, 6, 7)]
    for layer in ("first", "second"):
        expected = [cosine(product(update[layer]), product(g[layer])) for g in groups]
        found = similarities(update, groups, layer)
        assert found.shape == (3,)
        assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_without_groups_there_are_no_similarities():
    assert similarities(random_update(0), [], "first").shape == (0,)


def test_a_layer_that_is_not_there_is_an_error():
    with pytest.raises(UnknownNameError, match="layer must be one of first, second"):
        similarities(random_update(0), [], "fist")
    group = {"first": random_update(1)["first"]}
    with pytest.raises(UnknownNameError, match="must be one of first, but got 'second'"):
        similarities(random_update(0), [group], "second")
