"""What a table says of its jobs, and which are cancelled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up_records import made_up
from toys import SMOKE

from avalanche_ham.errors import HamError
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.cluster.notes import JOB, JobNote, write_note
from avalanche_ham.runs.cluster.overview import cancel_runs, queue_notes
from avalanche_ham.runs.cluster.slurm import ask
from avalanche_ham.runs.one_run import PROGRESS

RUNS = [replace(SMOKE, seed=seed) for seed in (1, 2, 3, 4)]


@pytest.fixture
def records(tmp_path):
    """Four runs, each with a job; the first has finished one task."""
    for index, config in enumerate(RUNS):
        note = JobNote("ham-1", f"7_{index}", f"log{index}")
        write_note(tmp_path / f"run{index}", config, note)
    (tmp_path / "run0" / PROGRESS).write_text("1")
    return tmp_path


def test_running_waiting_and_lost_runs_are_told_apart(records, queue):
    archive = Archive()
    archive.add(made_up(RUNS[3]))
    queue.show("ham-1|7_1|PENDING|Priority", "ham-1|7_0|RUNNING|None", "ham-1|7_2|TIMEOUT|None")
    assert list(queue_notes(RUNS, archive, records)) == [
        "slurm: 1 running, 1 waiting, 1 ended without a result",
        "running, job 7_0: ham, linear head, digits, 2 tasks, seed 1, rank=2: 1 of 2 tasks done",
        "waiting (Priority), job 7_1: ham, linear head, digits, 2 tasks, seed 2, rank=2: "
        "0 of 2 tasks done",
        "ended (TIMEOUT), job 7_2: ham, linear head, digits, 2 tasks, seed 3, rank=2: "
        "left no result, see log2",
    ]


def test_a_job_of_the_same_number_in_a_cluster_set_up_anew_is_another(records, queue):
    queue.show("simulation|7_0|RUNNING|None")
    assert next(queue_notes(RUNS[:1], Archive(), records)) == (
        "slurm: 0 running, 0 waiting, 1 ended without a result"
    )


def test_heads_of_one_training_are_one_job(tmp_path, queue):
    write_note(tmp_path / "run", replace(SMOKE, head="linear,ridge"), JobNote("ham-1", "7", "log"))
    queue.show("ham-1|7|RUNNING|None")
    both = [SMOKE, replace(SMOKE, head="ridge")]
    assert next(queue_notes(both, Archive(), tmp_path)) == "slurm: 1 running, 0 waiting"
    assert next(queue_notes(both[1:], Archive(), tmp_path)) == "slurm: 1 running, 0 waiting"


def test_nothing_is_asked_where_no_run_has_a_job(tmp_path, queue):
    assert list(queue_notes(RUNS, Archive(), tmp_path)) == [] and queue.calls() == []


def test_a_machine_without_the_queue_says_so(records, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (line,) = queue_notes(RUNS, Archive(), records)
    assert line.endswith(
        "cannot be asked how they are: cluster: there is no squeue on this machine"
    )
    with pytest.raises(HamError, match="no squeue"):
        cancel_runs(RUNS, Archive(), records)


def test_what_the_queue_complains_of_is_passed_on(queue):
    (queue.shown.parent / "squeue").write_text("#!/bin/sh\necho controller is down >&2; exit 1\n")
    with pytest.raises(HamError, match="cluster: controller is down"):
        ask({"ham-1"})


def test_cancelling_ends_this_tables_jobs_alone(records, queue):
    queue.show("ham-1|7_0|RUNNING|None", "ham-1|7_1|PENDING|None", "ham-1|7_2|COMPLETED|None")
    assert cancel_runs(RUNS[1:], Archive(), records) == 1
    assert queue.calls()[-1] == "scancel 7_1"
    assert not (records / "run1" / JOB).exists() and (records / "run0" / JOB).exists()
    queue.show()
    assert cancel_runs(RUNS[1:], Archive(), records) == 0
    assert "scancel" not in queue.calls()[-1]
