"""The tables of HAM+, from made-up records."""

from __future__ import annotations

import pytest
from scipy import stats

from avalanche_ham.reporting.layout import fill, lay_out, runs_of
from avalanche_ham.reporting.tables import TABLES
from avalanche_ham.runs.identity import identity_of
from avalanche_ham.runs.plan import together
from avalanche_ham.strategies.registry import METHODS

SCORES = {("ham", 1): 40.0, ("ham", 2): 46.0, ("ham_plus", 1): 57.0, ("ham_plus", 2): 62.0}


@pytest.fixture
def own(with_setup):
    """A setup that leaves heads and methods to the table."""
    return lambda **changes: with_setup(**{"heads": None, "methods": None, **changes})


def test_every_method_stands_under_every_head_and_ham_plus_last(own):
    setup = own(benchmarks=("cifar100",), seeds=(1,))
    blocks = lay_out(TABLES["ham_plus"], setup).blocks
    assert len(blocks) == 2 * 5  # 10 and 50 tasks, five heads
    for block in blocks:
        labels = [row.label for row in block.rows]
        assert labels[-2:] == ["HAM", "HAM+"] and len(labels) == len({*labels})
    methods = {run.method for run in runs_of(lay_out(TABLES["ham_plus"], setup))}
    others = {"joint", "lora_er", "pam_er"}  # a bound, and those that store images
    assert methods == {name for name, row in METHODS.items() if row.head is None} - others


@pytest.mark.slow
def test_it_takes_place_on_three_data_sets_where_50_tasks_are_cifar_100_s(own):
    places = {(run.benchmark, run.n_tasks) for run in runs_of(lay_out(TABLES["ham_plus"], own()))}
    assert places == {("cifar100", 10), ("cifar100", 50), ("gtsrb43", 10), ("cub100", 10)}


def test_one_training_of_a_method_serves_all_its_heads(own):
    setup = own(benchmarks=("cifar100",), tasks=(50,), methods=("ham", "ham_plus"), seeds=(1,))
    runs = {identity_of(r): r for r in runs_of(lay_out(TABLES["ham_plus"], setup))}.values()
    assert len(runs) == 2 * 5
    heads = "linear,ncm,ridge,lda,lda_drift"
    assert [(run.method, run.head) for run in together([*runs])] == [
        ("ham", heads),
        ("ham_plus", heads),
    ]


def test_the_difference_is_to_ham_plus_under_its_own_head_paired_by_seed(own, archive_of):
    setup = own(
        benchmarks=("cifar100",), tasks=(50,), heads=("ridge", "lda_drift"), methods=("ham",)
    )
    setup = own(**{**vars(setup), "methods": ("ham", "ham_plus")})
    table = lay_out(TABLES["ham_plus"], setup)
    pairs = [
        (run, {"aa": SCORES[run.method, run.seed] + (run.head == "lda_drift")})
        for run in {identity_of(run): run for run in runs_of(table)}.values()
    ]
    ridge, drift = fill(table, archive_of(*pairs)).blocks
    ham, plus = ridge.rows
    assert ham.cells[2].mean == pytest.approx(((40 - 58) + (46 - 63)) / 2)
    low, high = stats.ttest_rel([40, 46], [58, 63]).confidence_interval(0.95)
    assert ham.cells[3].text.startswith(f"{low:+.2f} to {high:+.2f}")
    assert plus.cells[2].mean == -1.0  # of another head: its own difference tells something
    assert [cell.text for cell in drift.rows[1].cells[2:]] == ["", "", ""]
    assert drift.rows[0].cells[2].mean == pytest.approx(-16.5)


def test_the_parts_differ_in_what_they_say_and_tell_what_they_cost(own, archive_of):
    setup = own(benchmarks=("cifar100",), tasks=(10,), seeds=(1,))
    table = lay_out(TABLES["ham_plus_parts"], setup)
    (block,) = table.blocks
    own_runs = [row.cells[0].runs[0] for row in block.rows]
    assert len({identity_of(run) for run in own_runs}) == len(block.rows)
    by_label = dict(zip((row.label for row in block.rows), own_runs, strict=True))
    alone = by_label["drift readout alone, penalty 3"]
    assert (alone.method, alone.head) == ("ham", "lda_drift")
    damped = by_label["damping alone, static statistics"]
    assert (damped.method, damped.options["lda_drift_penalty"]) == ("ham_plus", 1e9)
    plus = by_label["HAM+"]
    values = {"drift_seconds": [0.0] + [2.0] * 9, "feed_seconds": [1.0] * 10, "aa": 60.0}
    filled = fill(table, archive_of((plus, values))).blocks[0]
    row = next(row for row in filled.rows if row.label == "HAM+")
    titles = [column.title for column in filled.columns]
    cells = dict(zip(titles, row.cells, strict=True))
    assert cells["following the drift, s per task"].mean == pytest.approx(1.8)
    assert cells["feeding readouts, s per task"].mean == 1.0
    assert cells["numbers stored, thousands"].mean == 10.0
