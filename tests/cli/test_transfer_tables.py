"""The tables of PAM and SLAO end to end: their runs on the tiny backbone, with every number."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.reporting import tables
from avalanche_ham.reporting.pam import OVER_TIME, PAM_TABLE, TRIMMING
from avalanche_ham.reporting.table import Line

SMALL = [
    "--preset", "smoke", "--benchmark", "digits", "--seeds", "1", "--tasks", "2",
    "--head", "linear", "--jobs", "0", "--threads", "1", "--device", "cpu", "--run",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slao", "pam"])
def test_the_table_makes_its_runs_and_every_number(name, tmp_path, capsys):
    out = tmp_path / "table.csv"
    words = ["table", name, *SMALL, "--records", str(tmp_path / "runs"), "--out", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    cells = list(csv.DictReader(out.read_text().splitlines()))
    assert not any(int(cell["missing"]) or int(cell["failed"]) for cell in cells if cell["mean"])
    measured = [cell for cell in cells if cell["column"] == "A_t, merged (%)"]
    empty = {cell["row"] for cell in measured if not cell["mean"]}
    assert empty <= {"Zero-shot", "one LoRA on all tasks at once (bound)"} and len(measured) > 9


def test_a_few_rows_are_run_from_the_command_line(tmp_path, monkeypatch, capsys):
    """All of them are, among the slow tests."""
    few = [Line("PAM", "pam"), Line("TIES", "continual_ties")]
    also = [replace(TRIMMING, rows=few[1:]), replace(OVER_TIME, rows=few)]
    monkeypatch.setitem(tables.TABLES, "pam", replace(PAM_TABLE, rows=few, also=also))
    out = tmp_path / "table.csv"
    words = ["table", "pam", *SMALL, "--records", str(tmp_path / "runs"), "--out", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    cells = list(csv.DictReader(out.read_text().splitlines()))
    undefined = [cell for cell in cells if not cell["mean"]]
    assert all(cell["column"] in ("25% of the tasks", "50% of the tasks") for cell in undefined)
    assert len(cells) == 2 * 5 + 4 + 2 * 4
