"""The arithmetic of cells, worked out by hand."""

from __future__ import annotations

import math

import pytest

from avalanche_ham.reporting.aggregate import (
    Summary,
    average_of,
    mean_and_deviation,
    rank_correlation,
    sampling_error,
)
from avalanche_ham.reporting.paper import Value


def test_deviation_is_that_of_a_sample():
    mean, std = mean_and_deviation([70.0, 72.0, 77.0])
    assert mean == 73.0
    assert std == pytest.approx(math.sqrt((9 + 1 + 16) / 2))


def test_one_run_has_no_deviation_and_none_has_nothing():
    assert mean_and_deviation([70.0]) == (70.0, None)
    assert mean_and_deviation([]) == (None, None)


def test_average_adds_errors_as_the_paper_does():
    cells = [Summary(mean=70.0, std=3.0, n=2), Summary(mean=80.0, std=4.0, n=3)]
    average = average_of(cells)
    assert (average.mean, average.std, average.n) == (75.0, 2.5, 2)


def test_average_with_a_gap_is_a_gap():
    cells = [Summary(mean=70.0, n=1, paper=Value(60.0)), Summary(paper=Value(50.0))]
    average = average_of(cells)
    assert average.mean is None
    assert average.paper == Value(55.0)  # the paper has no gap there


@pytest.mark.parametrize("gap", [{"missing": 2}, {"failed": 2}, {"undefined": 2}])
def test_average_of_incomplete_cells_says_so(gap):
    whole, part = Summary(mean=70.0, n=3), Summary(mean=80.0, n=1, **gap)
    for cells in ([whole, part], [part, whole]):
        average = average_of(cells)
        assert average == Summary(mean=75.0, n=1, **gap) and average.total == 3
    assert average_of([whole, Summary(missing=3)]) == Summary(missing=3)


def test_sampling_error_of_one_task_is_the_binomial_one():
    assert sampling_error([0.5], [100]) == pytest.approx(5.0)
    assert sampling_error([0.5, 0.5], [100, 100]) == pytest.approx(5.0 / math.sqrt(2))
    assert sampling_error([1.0, 0.0], [10, 10]) == 0.0


def test_rank_correlation_is_scipy_s():
    from scipy.stats import spearmanr

    pairs = [(64.0, 3.0), (41.5, 2.0), (41.5, 9.0), (70.0, 7.5), (12.0, 1.0)]
    expected = spearmanr(*zip(*pairs)).statistic
    assert rank_correlation(pairs) == pytest.approx(expected) and 0.3 < expected < 0.9
    assert rank_correlation([(1.0, 5.0), (1.0, 7.0)]) is None
