"""Tables 3 to 7 and the extra one from made-up records, against numbers worked out by hand."""

from __future__ import annotations

import statistics

import pytest

from avalanche_ham.reporting.layout import fill, lay_out, runs_of
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.tables import TABLES
from avalanche_ham.runs.presets import preset_values


def _row(block, label):
    return next(row for row in block.rows if row.label == label)


def test_table_3_advantage_is_paired_by_seed(with_setup, archive_of):
    setup = with_setup(benchmarks=("cifar100",), tasks=(20,), seeds=(1, 2, 3))
    table = lay_out(TABLES["3"], setup)
    aa = {
        ("opened_similarity", 1): 50.0,
        ("opened_similarity", 2): 60.0,
        ("orthogonality", 1): 49.0,
        ("orthogonality", 2): 56.0,
        ("orthogonality", 3): 0.0,
    }
    runs = {(c.options["assignment"], c.seed): c for c in runs_of(table)}
    row = fill(table, archive_of(*[(runs[k], {"aa": v}) for k, v in aa.items()])).blocks[0].rows[0]
    gain = row.cells[2]
    assert (gain.mean, gain.std, gain.n) == (2.5, statistics.stdev([1, 4]), 2)
    assert [cell.paper.mean for cell in row.cells] == [82.45, 81.47, 0.98]


def test_table_4_reads_the_hierarchy(with_setup, archive_of):
    setup = with_setup(seeds=(1,), benchmarks=("cifar100",))
    table = lay_out(TABLES["4"], setup)
    config = next(iter(runs_of(table)))
    assert config.options == {"keep_unpruned": True} and config.n_tasks == 10
    hierarchy = {
        "individual": [0.5] * 9 + [0.6],
        "pruned": [0.4] * 10,
        "group": [0.7] * 10,
        "merged": [0.3] * 10,
        "groups": [0, 1] * 5,
        "parameters": [100_000] * 10,
        "parameters_pruned": [60_000] * 10,
    }
    block = fill(table, archive_of((config, {"hierarchy": hierarchy}))).blocks[0]
    assert [cell.text for cell in block.rows[1].cells][:1] == ["1"]
    average = _row(block, "average").cells
    assert [c.mean for c in average[1:]] == pytest.approx([51.0, 40.0, 70.0, 19.0, 30.0])
    assert (average[1].paper.mean, average[4].paper.mean) == (84.13, 2.74)
    assert [c.mean for c in block.rows[-1].cells[1:3]] == pytest.approx([1.0, 0.6])
    assert [c.paper.mean for c in block.rows[-1].cells[1:3]] == [5.90, 3.54]
    assert [c.text for c in block.rows[-1].cells[3:]] == [""] * 3


def test_a_table_4_record_without_hierarchy_is_there_but_has_no_numbers(with_setup, archive_of):
    table = lay_out(TABLES["4"], with_setup(seeds=(1,)))
    config = next(iter(runs_of(table)))
    cell = fill(table, archive_of((config, {"hierarchy": None}))).blocks[0].rows[0].cells[1]
    assert (cell.mean, cell.missing, cell.undefined) == (None, 0, 1)


def test_table_5_asks_for_one_to_ten_groups_at_twenty_tasks(with_setup, archive_of):
    table = lay_out(TABLES["5"], with_setup(seeds=(1,)))
    wanted = [(c.n_tasks, c.options["max_groups"]) for c in runs_of(table)]
    assert sorted(set(wanted)) == [
        (10, 1),
        (10, 2),
        (10, 5),
        (20, 1),
        (20, 2),
        (20, 5),
        (20, 10),
    ]
    block = fill(table, archive_of()).blocks[1]
    assert [row.cells[1].paper for row in block.rows] == [
        None,
        Value(82.45, 0.45),
        None,
        None,
        Value(78.81, 0.01),
    ]


def test_table_6_varies_algorithm_space_and_weights(with_setup, archive_of):
    table = lay_out(TABLES["6"], with_setup(seeds=(1,)))
    block = fill(table, archive_of()).blocks[0]
    assert len(block.rows) == 12
    assert _row(block, "ties, products").cells[0].paper == Value(85.66, 0.13)
    assert _row(block, "linear, factors, as peft, weights 1/G").cells[0].paper is None


def test_table_7_has_ten_fractions_with_the_paper_beside_six(with_setup, archive_of):
    table = lay_out(TABLES["7"], with_setup(seeds=(1,)))
    assert [c.options["keep"] for c in runs_of(table)][::3] == [i / 10 for i in range(10, 0, -1)]
    rows = fill(table, archive_of()).blocks[0].rows
    assert sum(row.cells[3].paper is not None for row in rows) == 6
    assert _row_of(rows, "0.6").cells[2].text == "3.54 M"
    assert _row_of(rows, "0.2").cells[1].text == "5.00"


def _row_of(rows, label):
    return next(row for row in rows if row.label == label)


def test_extra_table_changes_one_factor_at_a_time(with_setup):
    table = lay_out(TABLES["extra"], with_setup(seeds=(1,)))
    assert all(len(config.options) <= 2 for config in runs_of(table))
    alone = [c.options for c in runs_of(table) if c.n_tasks == 10 and len(c.options) == 1]
    assert {"within": "ties"} in alone and {"train_alphas": False} in alone
    rate = preset_values("cpu", "cifar100", "ham")["lr"]
    assert {"alpha_lr": 10 * rate} in alone and {"alpha_lr": 100 * rate} in alone
