"""Records gathered from many runs: one sorted file per data set, length and preset."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from toys import SMOKE

from avalanche_ham.cli.main import main
from avalanche_ham.errors import DataError
from avalanche_ham.runs.collect import collect
from avalanche_ham.runs.records import read_records

RUNS = (
    SMOKE,
    replace(SMOKE, seed=2),
    replace(SMOKE, n_tasks=5),
    replace(SMOKE, benchmark="cifar100"),
    replace(SMOKE, preset="cpu"),
)


def test_every_record_stands_in_the_file_of_its_kind(shelf, tmp_path, capsys):
    for config in RUNS:
        shelf.put(config)
    to = tmp_path / "results"
    assert main(["collect", str(shelf.folder), "--to", str(to)]) == 0
    files = {str(path.relative_to(to)): len(read_records(path)) for path in to.rglob("*.jsonl")}
    assert files == {
        "digits/2tasks-smoke.jsonl": 2,
        "digits/5tasks-smoke.jsonl": 1,
        "cifar100/2tasks-smoke.jsonl": 1,
        "digits/2tasks-cpu.jsonl": 1,
    }
    assert len(capsys.readouterr().out.splitlines()) == 4
    key = lambda record: json.dumps(record, sort_keys=True)  # noqa: E731
    assert sorted(read_records(to), key=key) == sorted(read_records(shelf.folder), key=key)


def test_collecting_again_and_in_another_order_changes_nothing(shelf, tmp_path):
    shelf.put(RUNS[1])
    collect(shelf.folder, tmp_path / "a")
    shelf.put(RUNS[0])
    collect(shelf.folder, tmp_path / "a")
    collect(shelf.folder, tmp_path / "b")
    a, b = ((tmp_path / x / "digits" / "2tasks-smoke.jsonl").read_bytes() for x in "ab")
    assert a == b and collect(shelf.folder, tmp_path / "a") == []


def test_two_records_of_one_run_that_differ_are_refused(shelf, tmp_path):
    shelf.put(SMOKE)
    collect(shelf.folder, tmp_path / "a")
    shelf.put(SMOKE, accuracy_matrix=[[0.1, None], [0.2, 0.3]])
    with pytest.raises(DataError, match="two of one run differ"):
        collect(shelf.folder, tmp_path / "a")
