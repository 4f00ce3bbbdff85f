"""Who makes the missing runs, and what happens when one fails or is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest
from toys import SMOKE

from avalanche_ham.runs import execute as execute_module
from avalanche_ham.runs import one_run
from avalanche_ham.runs.archive import FAILURE, read_archive
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.execute import _process_context as process_context
from avalanche_ham.runs.execute import execute
from avalanche_ham.runs.identity import identity_of
from avalanche_ham.runs.lock import LOCK, RunLock
from avalanche_ham.runs.plan import together
from avalanche_ham.runs.runner import run


def _execute(runs, folder, **options):
    archive = read_archive(folder, must_exist=False)
    resources = Resources(threads=1, device="cpu")
    return execute(runs, folder, archive, resources=resources, **options), archive


def test_one_training_leaves_a_record_for_each_head(tmp_path):
    (both,) = together([SMOKE, replace(SMOKE, head="ridge")])
    problems, archive = _execute([both], tmp_path, jobs=0)
    assert problems == [] and len(list(tmp_path.iterdir())) == 1
    assert archive.record(SMOKE)["head"] == "linear"
    found = read_archive(tmp_path).record(replace(SMOKE, head="ridge"))
    alone = run(replace(SMOKE, head="ridge"), Resources(threads=1), show=False)
    assert found["accuracy_matrix"] == alone["accuracy_matrix"]


@pytest.mark.slow
def test_two_processes_make_all_runs_each_in_its_folder(tmp_path):
    runs = [replace(SMOKE, seed=seed) for seed in (1, 2, 3)]
    problems, archive = _execute(runs, tmp_path, jobs=2)
    assert problems == [] and len(archive.records) == 3
    for config in runs:
        names = {path.name for path in (tmp_path / identity_of(config).slug).iterdir()}
        assert names == {"records.jsonl"}
        assert archive.record(config)["threads"] == 1


def test_processes_are_forked_from_a_server_where_the_system_can(monkeypatch):
    assert process_context().get_start_method() == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert process_context().get_start_method() == "spawn"


@pytest.mark.slow
def test_a_system_that_cannot_fork_starts_its_processes_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    problems, archive = _execute([SMOKE], tmp_path, jobs=1)
    alone = run(SMOKE, Resources(threads=1), show=False)
    assert problems == []
    assert archive.record(SMOKE)["accuracy_matrix"] == alone["accuracy_matrix"]


def test_a_run_under_another_process_lock_is_left_to_it(tmp_path):
    other = RunLock(tmp_path / identity_of(SMOKE).slug)
    assert other.acquire()
    problems, archive = _execute([SMOKE], tmp_path, jobs=0)
    assert problems == [] and not archive.records


def test_a_failure_is_noted_and_the_next_run_is_made(tmp_path, monkeypatch):
    def fail_on_seed_1(config, *args, **options):
        if config.seed == 1:
            raise RuntimeError("out of\n memory")
        return run(config, *args, **options)

    monkeypatch.setattr(one_run, "run", fail_on_seed_1)
    problems, _ = _execute([SMOKE, replace(SMOKE, seed=2)], tmp_path, jobs=0)
    assert len(problems) == 1 and "out of memory" in problems[0]
    archive = read_archive(tmp_path)
    assert archive.failure(SMOKE)["error"] == "RuntimeError: out of memory"
    assert "fail_on_seed_1" in archive.failure(SMOKE)["traceback"]
    assert archive.record(replace(SMOKE, seed=2))
    monkeypatch.undo()
    _execute([SMOKE], tmp_path, jobs=0)
    assert read_archive(tmp_path).failures == {}


def test_a_run_whose_folder_cannot_be_made_fails_alone(tmp_path, capsys):
    (tmp_path / identity_of(SMOKE).slug).write_text("a file in its place")
    other = replace(SMOKE, seed=2)
    problems, archive = _execute([SMOKE, other], tmp_path, jobs=0)
    assert len(problems) == 1 and archive.record(other)
    assert "FileExistsError" in capsys.readouterr().err


def test_a_failure_that_cannot_be_noted_is_said_with_its_cause(tmp_path, monkeypatch, capsys):
    def fail(*args, **options):
        raise RuntimeError("out of memory")

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(one_run, "run", fail)
    monkeypatch.setattr(one_run, "write_failure", full)
    problems, _ = _execute([SMOKE, replace(SMOKE, seed=2)], tmp_path, jobs=0)
    said = capsys.readouterr().err
    assert len(problems) == 2
    assert said.count("RuntimeError: out of memory") == said.count("No space left") == 2


def test_bad_input_is_reported_but_not_noted_as_a_result(tmp_path):
    problems, _ = _execute([replace(SMOKE, options={"rank": 10_000})], tmp_path, jobs=0)
    assert "rank" in problems[0]
    assert read_archive(tmp_path).failures == {}


def test_a_half_finished_run_goes_on_and_ends_with_the_same_matrix(tmp_path, monkeypatch):
    config = replace(SMOKE, n_tasks=4)
    whole = run(config, Resources(threads=1), show=False)

    def stop_after_two(current):
        if current.tasks_done() == 2:
            raise KeyboardInterrupt

    folder = tmp_path / identity_of(config).slug
    monkeypatch.setattr(one_run, "_count", lambda folder: stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        one_run.make_run(config, folder, Resources(threads=1))
    assert not (folder / LOCK).exists() and not (folder / FAILURE).exists()
    monkeypatch.undo()
    trained = []
    monkeypatch.setattr(one_run, "_count", lambda folder: lambda r: trained.append(r.tasks_done()))
    problems, archive = _execute([config], tmp_path, jobs=0)
    assert problems == [] and trained == [3, 4]
    assert archive.record(config)["accuracy_matrix"] == whole["accuracy_matrix"]


@pytest.mark.slow
def test_a_killed_process_is_no_failure_of_its_run_and_the_next_command_goes_on(tmp_path):
    slow = replace(SMOKE, options={"rank": 2, "steps": 100_000})
    folder = tmp_path / identity_of(slow).slug
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(_execute, [slow], tmp_path, jobs=1)
        _worker(folder).kill()
        problems, _ = outcome.result()
    assert "signal 9" in problems[0]
    assert read_archive(tmp_path).failure(slow) is None  # which only --retry would make again
    assert RunLock(folder).acquire()


@pytest.mark.slow
def test_a_termination_of_this_process_ends_those_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(execute_module, "PATIENCE", 0)
    slow = [replace(SMOKE, seed=seed, options={"rank": 2, "steps": 100_000}) for seed in (1, 2)]

    def unexpected(*args):
        raise AssertionError("SIGTERM has not become an interrupt")

    before = signal.signal(signal.SIGTERM, unexpected)

    def terminate():
        workers = [_worker(tmp_path / identity_of(config).slug) for config in slow]
        os.kill(os.getpid(), signal.SIGTERM)
        return workers

    with ThreadPoolExecutor(1) as pool:
        workers = pool.submit(terminate)
        try:
            with pytest.raises(KeyboardInterrupt):
                _execute(slow, tmp_path, jobs=2)
        finally:
            alive = psutil.wait_procs(workers.result(), timeout=5)[1]
            for process in alive:
                process.kill()
    assert not alive
    assert signal.signal(signal.SIGTERM, before) is unexpected
    for config in slow:
        assert RunLock(tmp_path / identity_of(config).slug).acquire()


@pytest.mark.slow
def test_a_kill_of_the_command_ends_the_processes_that_it_started(tmp_path):
    options = "--methods ham --benchmark digits --tasks 5 --seeds 1,2 --preset cpu"
    words = f"table methods {options} --run --jobs 2 --threads 1"
    command = [sys.executable, "-m", "avalanche_ham", *words.split(), "--records", tmp_path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as table:
        while len(folders := list(tmp_path.iterdir())) < 2:
            assert table.poll() is None
            time.sleep(0.05)
        workers = [_worker(folder) for folder in folders]
        table.send_signal(signal.SIGTERM)
        assert table.wait(timeout=60) == 143
        assert "the same command goes on" in table.stderr.read()
    assert not psutil.wait_procs(workers, timeout=5)[1]
    for folder in folders:
        assert RunLock(folder).acquire()
        assert not (folder / "records.jsonl").exists()  # ended, not finished


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_command_leaves_no_process_and_no_lock(tmp_path, monkeypatch, jobs):
    slow = [replace(SMOKE, seed=seed, options={"rank": 2, "steps": 10**6}) for seed in range(jobs)]
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(execute_module, "_process_context", lambda: context)
    parent = context.Process(target=_execute, args=(slow, tmp_path), kwargs={"jobs": jobs})
    parent.start()
    workers = [_worker(tmp_path / identity_of(config).slug) for config in slow]
    parent.kill()
    parent.join()
    alive = psutil.wait_procs(workers, timeout=10)[1]
    for process in alive:
        process.kill()
    assert not alive
    for config in slow:
        assert RunLock(tmp_path / identity_of(config).slug).acquire()


def _worker(folder):
    """Wait until a process has taken a run's folder; give that process."""
    for _ in range(1200):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if str(folder / LOCK) in [file.path for file in process.open_files()]:
                    return process
        time.sleep(0.05)
    raise AssertionError(f"no process has taken {folder}")
