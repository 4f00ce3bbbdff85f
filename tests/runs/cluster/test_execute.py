"""Who submits, who waits, and what is said of jobs that end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from toys import SMOKE

from avalanche_ham.errors import HamError
from avalanche_ham.runs.archive import Archive, read_archive, write_failure
from avalanche_ham.runs.cluster import execute as execute_module
from avalanche_ham.runs.cluster.execute import execute_on_cluster
from avalanche_ham.runs.cluster.notes import JOB, JobNote, read_notes
from avalanche_ham.runs.cluster.request import Request
from avalanche_ham.runs.cluster.slurm import State
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.identity import identity_of

RUNS = [replace(SMOKE, seed=seed) for seed in (1, 2)]


class Queue:
    """In the place of Slurm: takes jobs, and ends them as a test says."""

    def __init__(self):
        self.jobs, self.states, self.then, self.questions = [], {}, {}, 0

    def submit(self, jobs, folder, request):
        time.sleep(0.1)  # time for another to come
        notes = [JobNote("ham-1", f"7_{len(self.jobs) + i}", "log") for i in range(len(jobs))]
        self.jobs += jobs
        self.states |= {(note.name, note.id): State("PENDING") for note in notes}
        return notes

    def ask(self, names):
        self.questions += 1
        self.then.get(self.questions, lambda: None)()
        return {key: state for key, state in self.states.items() if key[0] in names}


@pytest.fixture
def slurm(monkeypatch):
    made = Queue()
    monkeypatch.setattr(execute_module, "submit", made.submit)
    monkeypatch.setattr(execute_module, "ask", made.ask)
    monkeypatch.setattr(execute_module, "POLL", 0.02)
    return made


def _execute(folder, runs=RUNS, **options):
    options = {"resources": Resources(device="cpu", threads=1), "request": Request(), **options}
    return execute_on_cluster(runs, folder, read_archive(folder, must_exist=False), **options)


def test_a_run_that_ends_is_reported_and_its_record_kept(tmp_path, slurm, capsys):
    def make():
        slurm.jobs[0]()
        slurm.states[("ham-1", "7_0")] = State("COMPLETED")

    slurm.then = {2: make}
    archive = Archive()
    resources = Resources(device="cpu", threads=1)
    problems = execute_on_cluster(
        RUNS[:1], tmp_path, archive, resources=resources, request=Request()
    )
    assert problems == [] and archive.record(SMOKE)
    assert "[1/1] ham, linear head, digits, 2 tasks, seed 1, rank=2: AA" in capsys.readouterr().err


def test_a_job_that_leaves_nothing_is_a_problem_with_its_log(tmp_path, slurm):
    slurm.then = {3: lambda: slurm.states.update({("ham-1", "7_0"): State("OUT_OF_MEMORY")})}
    (problem,) = _execute(tmp_path, RUNS[:1])
    assert problem.endswith("job 7_0 ended with OUT_OF_MEMORY and left no result, see log")


def test_a_job_that_somebody_cancels_is_said_to_be_cancelled(tmp_path, slurm):
    def cancel():
        (slurm.jobs[0].folder / JOB).unlink()
        slurm.states.clear()

    slurm.then = {2: cancel}
    (problem,) = _execute(tmp_path, RUNS[:1])
    assert problem.endswith("failed: job 7_0 was cancelled")


def test_two_who_start_the_same_table_submit_it_once(tmp_path, slurm, capsys):
    other = threading.Thread(target=_execute, args=(tmp_path,), kwargs={"detach": True})
    other.start()
    assert _execute(tmp_path, detach=True) == []
    other.join()
    assert sorted(job.config.seed for job in slurm.jobs) == [1, 2]
    assert "2 of the runs are in the queue already" in capsys.readouterr().err


def test_only_runs_without_a_living_job_are_submitted_again(tmp_path, slurm):
    _execute(tmp_path, detach=True)
    slurm.states[("ham-1", "7_1")] = State("TIMEOUT")
    _execute(tmp_path, detach=True)
    assert [job.config.seed for job in slurm.jobs] == [1, 2, 2]
    assert read_notes(tmp_path)[identity_of(RUNS[1]).asked][1].id == "7_2"


def test_an_old_failure_is_not_taken_for_the_new_jobs(tmp_path, slurm):
    folder = tmp_path / identity_of(SMOKE).slug
    write_failure(folder, SMOKE, error="of an earlier start", tasks_done=0)
    slurm.then = {2: slurm.states.clear}
    (problem,) = _execute(tmp_path, RUNS[:1])
    assert "left no result" in problem


def test_a_queue_that_is_down_for_a_while_is_waited_for(tmp_path, slurm, capsys):
    def fail():
        raise HamError("cluster: controller is down")

    slurm.then = {2: fail, 3: slurm.states.clear}
    assert len(_execute(tmp_path, RUNS[:1])) == 1
    assert "controller is down; waiting on" in capsys.readouterr().err
