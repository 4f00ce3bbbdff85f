"""What papers print beside what is measured here, from made-up records."""

from __future__ import annotations

import pytest

from avalanche_ham.reporting import other_papers, tables
from avalanche_ham.reporting.layout import fill, lay_out, runs_of
from avalanche_ham.reporting.notes import fill_with_notes
from avalanche_ham.runs.config import resolve_config

TASKS = 6  # of PAM's data


@pytest.fixture
def sheet(with_setup):
    setup = with_setup(seeds=(1,), methods=None, heads=("linear", "ridge"))
    return lay_out(tables.TABLES["reported"], setup)


def printed(sheet, archive_of) -> dict[str, dict[str, list[float | None]]]:
    """Title of a block -> label of a row -> the papers' values in it."""
    return {
        block.title: {
            row.label: [c.paper and c.paper.mean for c in row.cells] for row in block.rows
        }
        for block in fill(sheet, archive_of()).blocks
    }


def test_pam_s_backward_transfer_is_what_its_other_columns_say_but_for_one_slip():
    rows = {name: row for name, row in other_papers.PAM.items() if None not in row}
    assert len(rows) == 10
    said = {
        name: ((acc.mean - first.mean) * TASKS / (TASKS - 1), bwt.mean)
        for name, (acc, bwt, first) in rows.items()
    }
    wrong = {name for name, pair in said.items() if abs(pair[0] - pair[1]) > 0.02}
    assert wrong == {"average"} and round(said["average"][0], 2) == -22.25


def test_every_printed_value_stands_beside_its_method(sheet, archive_of):
    found = printed(sheet, archive_of)
    for head in ("linear head, trained", "ridge readout, closed form"):
        main = found[head]
        assert main["HAM"] == [71.78, 55.17] and main["HAM+"] == [None, None]
        pam = next(rows for title, rows in found.items() if "PAM's" in title and head in title)
        assert pam["PAM"] == [49.89, -19.45, 66.11]
        slao = next(rows for title, rows in found.items() if "SLAO's" in title and head in title)
        assert slao["start from the merged pair"] == [74.2] and len(slao) == len(other_papers.SLAO)
        other = next(rows for title, rows in found.items() if "several" in title and head in title)
        assert other["frozen backbone"] == ([89.0, 88.7] if "ridge" in head else [None, None])
        assert other["P&M"] == [88.5, None]


def test_all_runs_are_runs_that_can_be_made(sheet):
    runs = list(runs_of(sheet))
    assert all(resolve_config(run) for run in runs)
    lengths = {(run.benchmark, run.n_tasks) for run in runs}
    assert lengths == {("cifar100", 50), ("cifar100", 10), ("cub100", 10)}


def test_one_length_is_said_in_the_title_only_where_all_blocks_have_it(with_setup):
    setup = with_setup(seeds=(1,), methods=None, heads=("linear",), benchmarks=("cifar100",))
    sheet = lay_out(tables.TABLES["reported"], setup)
    assert {run.n_tasks for run in runs_of(sheet)} == {10, 50}
    assert "tasks" not in sheet.title
    assert all("50 tasks" in c.title for c in sheet.blocks[0].columns)
    one = lay_out(tables.TABLES["1"], with_setup(tasks=(20,)))
    assert one.title.endswith(" after 20 tasks")


def test_both_orders_are_said(with_setup, archive_of):
    names = ("linear", "inflora", "sd_lora", "ham")
    setup = with_setup(seeds=(1,), heads=("linear",), methods=names)
    sheet = lay_out(tables.TABLES["reported"], setup)
    first = {r.method: r for r in runs_of(sheet) if (r.benchmark, r.n_tasks) == ("cifar100", 50)}
    archive = archive_of(*((first[name], {"aa": 10.0 * i}) for i, name in enumerate(names)))
    (said,) = (n for n in fill_with_notes(sheet, setup, archive).notes if "rank correlation" in n)
    assert "is 0.80 (Spearman" in said
    assert "best first, here HAM > SD-LoRA > InfLoRA > Linear merging; " in said
    assert said.endswith("there HAM > SD-LoRA > Linear merging > InfLoRA")


def test_table_1_says_what_frozen_features_reach(with_setup, archive_of):
    setup = with_setup(seeds=(1,))
    sheet = fill_with_notes(lay_out(tables.TABLES["1"], setup), setup, archive_of())
    assert any("89.0" in note and "88.7" in note for note in sheet.notes)
