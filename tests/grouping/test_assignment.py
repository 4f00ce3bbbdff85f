"""Sec. 3.2.2, "Group Association": the rule after Eq. 3, and Table 3's other arm."""

import itertools
import math

import pytest
import torch

from avalanche_ham.errors import OptionError
from avalanche_ham.grouping import (
    Orthogonality,
    Similarity,
    assign_by_orthogonality,
    assign_by_similarity,
)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def rule_of_the_paper(values, threshold, max_groups):
    """The three sentences after Eq. 3, one branch each."""
    if not values:
        return None
    most_similar = max(range(len(values)), key=lambda j: (values[j], -j))
    if values[most_similar] >= threshold:
        return most_similar
    if len(values) < max_groups:
        return None
    return most_similar


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("max_groups", [1, 2, 3])
def test_every_small_case_follows_the_rule(threshold, max_groups):
    levels = (-0.7, 0.0, 0.4, 0.5, 0.9)
    for n_groups in range(max_groups + 1):
        for values in itertools.product(levels, repeat=n_groups):
            found = assign_by_similarity(
                tensor(*values), threshold=threshold, max_groups=max_groups
            )
            assert found == rule_of_the_paper(values, threshold, max_groups), values


def test_the_first_adapter_opens_a_group():
    assert Similarity()(tensor()) is None
    assert Orthogonality()(tensor()) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_threshold_exactly_met_is_met(dtype):
    rule = Similarity(threshold=0.7)
    assert rule(torch.tensor([0.7], dtype=dtype)) == 0
    assert rule(torch.tensor([0.6999], dtype=dtype)) is None


def test_of_equally_similar_groups_the_oldest_is_joined():
    assert Similarity(max_groups=4)(tensor(0.2, 0.8, 0.8, 0.8)) == 1
    assert Similarity(max_groups=2)(tensor(0.1, 0.1)) == 0
    assert Orthogonality(max_groups=3)(tensor(0.9, -0.1, 0.1)) == 1


def test_orthogonality_joins_the_smallest_magnitude_and_only_when_full():
    values = tensor(-0.9, 0.3, -0.2, 0.8)
    assert Orthogonality(max_groups=4)(values) == 2
    assert Orthogonality(max_groups=5)(values) is None


def test_the_arms_of_table_3_open_groups_alike():
    similar, orthogonal = Similarity(2.0, 3), Orthogonality(3)
    for values in [(), (1.0,), (0.99, 0.98)]:
        assert similar(tensor(*values)) is None
        assert orthogonal(tensor(*values)) is None
    assert similar(tensor(0.1, 0.3, 0.2)) == 1
    assert orthogonal(tensor(0.1, 0.3, 0.2)) == 0


@pytest.mark.parametrize("rule", [Similarity(), Similarity(2.0, 3), Orthogonality(3)])
def test_a_stream_never_opens_more_groups_than_allowed(rule):
    generator, members = torch.Generator().manual_seed(0), []
    for _ in range(50):
        chosen = rule(2 * torch.rand(len(members), generator=generator) - 1)
        if chosen is None:
            members.append(1)
        else:
            members[chosen] += 1
    assert len(members) == rule.max_groups
    assert sum(members) == 50


def test_rules_call_their_functions_with_their_options():
    values = tensor(0.3, 0.1)
    by_similarity = assign_by_similarity(values, threshold=0.4, max_groups=3)
    assert Similarity(0.4, 3)(values) is by_similarity is None
    assert Similarity(0.2, 3)(values) == 0
    assert Orthogonality(2)(values) == assign_by_orthogonality(values, max_groups=2) == 1


def test_a_rule_is_a_value_that_says_what_it_is():
    assert Similarity() == Similarity(threshold=0.5, max_groups=2)
    assert repr(Similarity()) == "Similarity(threshold=0.5, max_groups=2)"
    assert repr(Orthogonality(3)) == "Orthogonality(max_groups=3)"


@pytest.mark.parametrize("threshold", [-1.5, math.nan])
def test_a_threshold_below_minus_1_is_an_error_at_once(threshold):
    with pytest.raises(OptionError, match="threshold must be at least -1"):
        Similarity(threshold=threshold)


@pytest.mark.parametrize("kind", [Similarity, Orthogonality])
def test_no_group_at_all_is_an_error_at_once(kind):
    with pytest.raises(OptionError, match="max_groups must be at least 1, but got 0"):
        kind(max_groups=0)


@pytest.mark.parametrize("rule", [Similarity(), Orthogonality()])
def test_similarities_must_be_one_dimensional(rule):
    with pytest.raises(OptionError, match="similarities must be one-dimensional"):
        rule(torch.zeros(2, 2))
