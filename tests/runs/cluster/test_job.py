"""What a job does at its first start, at a later one, and where another has its run."""

from __future__ import annotations

import threading

import pytest
from toys import SMOKE

from avalanche_ham.errors import HamError
from avalanche_ham.runs.cluster import job as job_module
from avalanche_ham.runs.cluster.job import Job
from avalanche_ham.runs.cluster.notes import JOB, JobNote, write_note
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.lock import RunLock
from avalanche_ham.runs.one_run import PROGRESS, outcome
from avalanche_ham.runs.runner import run

CPU = Resources(device="cpu", threads=1)


def test_a_job_waits_for_a_lock_that_an_earlier_start_still_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "POLL", 0.05)
    write_note(tmp_path, SMOKE, JobNote("ham-1", "7", "log"))
    earlier = RunLock(tmp_path)
    assert earlier.acquire()
    threading.Timer(0.3, earlier.release).start()
    Job(SMOKE, tmp_path, CPU)()
    (record,), _ = outcome(tmp_path)
    alone = run(SMOKE, CPU, show=False)
    assert record["accuracy_matrix"] == alone["accuracy_matrix"]
    assert not (tmp_path / JOB).exists()


def test_a_job_leaves_a_run_to_whoever_keeps_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "POLL", 0.05)
    monkeypatch.setattr(job_module, "PATIENCE", 0.2)
    other = RunLock(tmp_path)
    assert other.acquire()
    Job(SMOKE, tmp_path, CPU)()
    assert outcome(tmp_path) == ([], None)


def test_a_failed_run_fails_its_job_and_keeps_the_note_of_it(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("avalanche_ham.runs.one_run.run", fail)
    write_note(tmp_path, SMOKE, JobNote("ham-1", "7", "log"))
    with pytest.raises(SystemExit) as exit:
        Job(SMOKE, tmp_path, CPU)()
    assert exit.value.code == 1 and (tmp_path / JOB).exists()
    assert outcome(tmp_path)[1] == "RuntimeError: out of memory"


def test_a_job_takes_the_threads_of_its_processors(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(job_module, "make_run", lambda c, f, resources, **o: seen.append(resources))
    monkeypatch.setattr(job_module, "PATIENCE", -1)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    Job(SMOKE, tmp_path, Resources())()
    Job(SMOKE, tmp_path, Resources(threads=2))()
    assert [resources.threads for resources in seen] == [6, 2]


def test_a_job_gives_up_after_three_starts_without_a_finished_task(tmp_path):
    pytest.importorskip("submitit")
    job = Job(SMOKE, tmp_path, CPU)
    for _ in range(2):
        job = job.checkpoint().function
    (tmp_path / PROGRESS).write_text("1")
    job = job.checkpoint().function
    job.begun_with = 1
    for _ in range(2):
        job = job.checkpoint().function
    with pytest.raises(HamError, match="3 starts in a row ended before one task was finished"):
        job.checkpoint()
