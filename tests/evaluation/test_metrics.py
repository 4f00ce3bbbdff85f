"""Sec. 4.1: metrics of an accuracy matrix."""

import math

import numpy as np
import pytest
import reference
from avalanche.evaluation.metrics import Forgetting

from avalanche_ham.errors import OptionError
from avalanche_ham.evaluation.metrics import (
    accuracy_so_far,
    average_accuracy,
    average_anytime_accuracy,
    backward_transfer,
    first_forgetting,
    forgetting,
    forgetting_so_far,
    summary,
)

BY_HAND = [
    [0.8, None, None],
    [0.9, 0.6, None],
    [0.5, 0.7, 1.0],
]


@pytest.fixture(params=[2, 3, 10])
def matrix(request):
    n = request.param
    return np.random.default_rng(n).random((n, n)).tolist()


def test_three_tasks_by_hand():
    # task 1 peaks in row 2; task 2 ends better than ever, which counts as -0.1
    assert average_accuracy(BY_HAND) == pytest.approx(100 * (0.5 + 0.7 + 1.0) / 3)
    assert forgetting(BY_HAND) == pytest.approx(100 * (0.4 - 0.1) / 2)
    assert backward_transfer(BY_HAND) == pytest.approx(100 * (-0.3 + 0.1) / 2)
    expected = 100 * (0.8 + (0.9 + 0.6) / 2 + (0.5 + 0.7 + 1.0) / 3) / 3
    assert average_anytime_accuracy(BY_HAND) == pytest.approx(expected)


def test_they_equal_plain_loops(matrix):
    assert summary(matrix) == pytest.approx(
        {
            "aa": reference.average_accuracy(matrix),
            "fm": reference.forgetting(matrix),
            "bwt": reference.backward_transfer(matrix),
            "aaa": reference.average_anytime_accuracy(matrix),
        }
    )


@pytest.mark.parametrize("filler", [None, math.nan, 0.0, 7.0])
def test_what_stands_above_the_diagonal_is_not_read(matrix, filler):
    n = len(matrix)
    masked = [[matrix[t][j] if j <= t else filler for j in range(n)] for t in range(n)]
    assert summary(masked) == summary(matrix)


def test_arrays_do_as_well_as_lists(matrix):
    assert summary(np.array(matrix)) == summary(matrix)


def test_first_forgetting_is_avalanches(matrix):
    metric = Forgetting()
    for t, row in enumerate(matrix):
        for j in range(t + 1):
            metric.update(j, row[j], initial=j == t)
    ours = metric.result()
    assert len(ours) == len(matrix) - 1
    expected = 100 * sum(ours.values()) / len(ours)
    assert first_forgetting(matrix) == pytest.approx(expected)
    assert first_forgetting(matrix) == -backward_transfer(matrix)


def test_avalanche_s_bare_metric_counts_a_newest_task_that_was_evaluated_before_its_training():
    metric = Forgetting()
    rows = [[1.0, 0.0], [0.4, 1.0]]
    for t, row in enumerate(rows):
        for j in range(2):
            metric.update(j, row[j], initial=j == t)
    assert metric.result() == {0: 0.6, 1: 1.0}
    assert first_forgetting(rows) == pytest.approx(60)


def test_with_one_task_nothing_can_be_forgotten():
    assert summary([[0.25]]) == {"aa": 25, "fm": None, "bwt": None, "aaa": 25}
    assert first_forgetting([[0.25]]) is None


def test_a_row_that_was_not_measured_leaves_the_final_accuracy():
    only_final = [[None] * 3, [None] * 3, [0.2, 0.4, 0.6]]
    expected = {"aa": pytest.approx(40), "fm": None, "bwt": None, "aaa": None}
    assert summary(only_final) == expected


def test_a_missing_entry_is_never_skipped():
    matrix = [[0.8, None, None], [None, 0.6, None], [0.5, 0.7, 1.0]]
    found = summary(matrix)
    assert found["fm"] is None
    assert found["aaa"] is None
    assert found["bwt"] == pytest.approx(-10)


@pytest.mark.parametrize("matrix", [[], [[0.5, 0.5]], [0.5], [[0.5], [0.5]]])
def test_a_matrix_that_is_not_square_is_an_error(matrix):
    with pytest.raises(OptionError, match="accuracy matrix must be T rows of T"):
        average_accuracy(matrix)


def test_percentages_instead_of_fractions_are_an_error():
    with pytest.raises(OptionError, match="accuracy must be .* at most 1, but got 81"):
        summary([[81.0]])


def test_metrics_so_far_are_those_of_the_run_cut_short(matrix):
    cut = [[row[:t] for row in matrix[:t]] for t in range(1, len(matrix) + 1)]
    assert accuracy_so_far(matrix) == pytest.approx([average_accuracy(a) for a in cut])
    assert forgetting_so_far(matrix)[1:] == pytest.approx([forgetting(a) for a in cut[1:]])
    assert math.isnan(forgetting_so_far(matrix)[0])


def test_metrics_so_far_are_undefined_where_an_entry_is_missing():
    gap = [[0.8, None, None], [None, 0.6, None], [0.5, 0.7, 1.0]]
    assert np.isnan(accuracy_so_far(gap)).tolist() == [False, True, False]
    assert np.isnan(forgetting_so_far(gap)).tolist() == [True, True, True]
    assert np.isnan(forgetting_so_far([[0.5]])).tolist() == [True]
