"""A disk that is full or fails ends a run in one line, and what was safe stays safe."""

from __future__ import annotations

import errno
import os

import pytest
from toys import SMOKE

from avalanche_ham.cli.main import main
from avalanche_ham.errors import StorageError
from avalanche_ham.runs import one_run
from avalanche_ham.runs.archive import FAILURE, read_archive
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.execute import execute
from avalanche_ham.runs.one_run import NO_DISK, PROGRESS, make_run, outcome, tasks_done
from avalanche_ham.runs.plan import together
from avalanche_ham.runs.runner import RunConfig, run

CPU = Resources(device="cpu", threads=1)
CONFIG = RunConfig("ham", preset="smoke", n_tasks=3)


def fill_disk(monkeypatch, call: str, after: int, *, code: int = errno.ENOSPC):
    """Let a function of ``os`` fail from some call on."""
    real, calls = getattr(os, call), []

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, full)


@pytest.mark.parametrize("call, after, safe", [("fsync", 2, 0), ("fsync", 4, 1), ("replace", 2, 1)])
def test_a_full_disk_says_what_is_safe_and_the_run_goes_on_from_there(
    tmp_path, monkeypatch, call, after, safe
):
    expected = run(CONFIG, CPU, show=False)
    with monkeypatch.context() as patch:
        fill_disk(patch, call, after)
        with pytest.raises(StorageError, match=f"written .No space left.*; {safe} of 3 tasks are"):
            run(CONFIG, CPU, out=tmp_path / "out", show=False)
    assert not list(tmp_path.rglob("*.partial"))
    found = run(CONFIG, CPU, out=tmp_path / "out", resume=True, show=False)
    assert found["accuracy_matrix"] == expected["accuracy_matrix"]


def test_a_disk_that_fills_before_the_record_loses_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fill_disk(patch, "replace", 6)
        with pytest.raises(StorageError, match="3 of 3 tasks are safe"):
            run(CONFIG, CPU, out=tmp_path, show=False)
    with monkeypatch.context() as patch:
        patch.setattr("avalanche_ham.runs.run.Run.next_task", lambda self: pytest.fail("trained"))
        run(CONFIG, CPU, out=tmp_path, resume=True, show=False)
    assert (tmp_path / "records.jsonl").exists()


def test_a_full_disk_is_not_the_methods_failure_and_stops_the_runs_after_it(
    tmp_path, monkeypatch, capsys
):
    runs = together([SMOKE, RunConfig("lora", preset="smoke", n_tasks=2)])
    archive = read_archive(tmp_path, must_exist=False)
    with monkeypatch.context() as patch:
        fill_disk(patch, "fsync", 2)
        problems = execute(runs, tmp_path, archive, resources=CPU, jobs=0)
    assert len(problems) == 1
    assert "No space left" in capsys.readouterr().err
    again = read_archive(tmp_path)
    assert not again.failures and not again.records
    assert execute(runs, tmp_path, again, resources=CPU, jobs=0) == []


def test_a_damaged_note_costs_nothing_but_itself(tmp_path):
    (tmp_path / PROGRESS).write_bytes(b"\xff many")
    (tmp_path / FAILURE).write_text('{"error": ')
    assert tasks_done(tmp_path) == 0 and outcome(tmp_path) == ([], None)
    assert make_run(SMOKE, tmp_path, CPU) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]


def test_a_kill_between_record_and_tidying_is_made_good_by_the_next_command(
    tmp_path, monkeypatch, capsys
):
    words = ["table", "methods", "--records", str(tmp_path), "--run", "--methods", "ncm", "--jobs"]
    words += ["0", "--preset", "smoke", "--benchmark", "digits", "--tasks", "2", "--seeds", "1"]

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(one_run, "tidy", killed)
        assert main(words) == 130
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {"records.jsonl", "state", PROGRESS}
    assert main(words) == 0
    assert [path.name for path in folder.iterdir()] == ["records.jsonl"]


def test_no_disk_is_a_code_of_its_own(tmp_path, monkeypatch, capsys):
    fill_disk(monkeypatch, "fsync", 0, code=errno.EIO)
    assert make_run(SMOKE, tmp_path, CPU) == NO_DISK
    assert not (tmp_path / FAILURE).exists()
    assert "cannot take a note of it" in capsys.readouterr().err
