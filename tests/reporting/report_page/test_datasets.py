"""What the charts draw."""

from __future__ import annotations

import json

import numpy as np
import pytest

from avalanche_ham.evaluation.metrics import average_accuracy, forgetting
from avalanche_ham.reporting.report_page.datasets import datasets

MATRICES = [
    [[0.8, None, None], [0.9, 0.6, None], [0.5, 0.7, 1.0]],
    [[0.6, None, None], [0.7, 0.4, None], [0.3, 0.5, 0.8]],
]


@pytest.fixture
def two_seeds(rows_of):
    return rows_of(*(({"seed": s}, {"accuracy_matrix": m}) for s, m in enumerate(MATRICES, 1)))


def test_a_matrix_is_the_mean_of_its_seeds_row_after_row(two_seeds):
    (found,) = datasets(two_seeds)["matrices"]
    assert found["a"] == [700, 800, 500, 400, 600, 900]


def test_curves_are_the_metrics_of_the_run_cut_short(two_seeds):
    (found,) = datasets(two_seeds)["curves"]
    cut = [[np.array(m, dtype=float)[:t, :t] for m in MATRICES] for t in (1, 2, 3)]
    means = [np.mean([average_accuracy(a) for a in run]) for run in cut]
    assert found["task"] == [1, 2, 3]
    assert found["aa"] == pytest.approx(means, abs=1e-3)  # rounded for the page
    assert found["fm"][0] is None  # nothing can be forgotten yet
    lost = [np.mean([forgetting(a) for a in run]) for run in cut[1:]]
    assert found["fm"][1:] == pytest.approx(lost, abs=1e-3)


def test_what_was_not_measured_is_null(rows_of):
    nothing = [[None] * 3] * 2
    rows = rows_of(({"method": "joint"}, {"accuracy_matrix": [*nothing, [0.1, 0.2, 0.3]]}))
    found = datasets(rows)
    assert found["matrices"][0]["a"] == [None, None, None, 100, 200, 300]
    assert found["curves"][0]["aa"] == [None, None, 20.0]
    assert found["curves"][0]["fm"] == [None, None, None]
    json.dumps(found, allow_nan=False)


def test_groups_are_told_task_by_task(rows_of):
    groups = {
        "members": [0, 1, 0],
        "similarities": [[], [0.25], [0.5, -0.125]],
        "group_alphas": [1.0, 1.1],
        "alphas": [{"end": [0.9]}, {"end": [1.0, 0.8]}, {"end": [1.1, 1.2, 0.7]}],
    }
    rows = rows_of(({"seed": 3}, {"groups": groups}), ({"method": "lora"}, {"groups": None}))
    (found,) = datasets(rows)["groups"]
    assert found["seed"] == 3
    assert found["member"] == [0, 1, 0]
    assert found["cosine"] == [[2, 0, 0.25], [3, 0, 0.5], [3, 1, -0.125]]
    assert found["alpha"] == [
        [1, "new", 0.9],
        [2, "group 0", 1.0],
        [2, "new", 0.8],
        [3, "group 0", 1.1],
        [3, "group 1", 1.2],
        [3, "new", 0.7],
    ]


def test_another_methods_inner_state_is_no_group(rows_of):
    (row,) = rows_of(({"method": "sd_lora"}, {"groups": {"alphas": [1.0], "ranks": [4]}}))
    assert datasets([row])["groups"] == []


def test_each_run_says_where_it_comes_from(rows_of):
    made = {"commit": "0123456789abcdef", "clean": False, "date": "2026-01-02", "threads": 4}
    (seed,) = datasets(rows_of(({"seed": 7}, made)))["seeds"]
    assert (seed["seed"], seed["record"], seed["date"]) == (7, "file, line 1", "2026-01-02")
    assert seed["commit"] == "0123456789ab, with changes"
    assert seed["made on"] == "cpu, fp32, 4 threads"
    assert seed["versions"] == "avalanche-ham 0.1.0"
