"""Make the missing runs of a plan, in this process or in several, each in its own folder."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avalanche_ham.errors import DivergedError, HamError
from avalanche_ham.reporting.archive import FAILURE, Archive, write_failure
from avalanche_ham.reporting.identity import identity_in, identity_of
from avalanche_ham.reporting.lock import RunLock
from avalanche_ham.reporting.plan import describe, duration, time_left
from avalanche_ham.runner import Resources, RunConfig, run

INTERRUPTED = 130


def execute(
    runs: Sequence[RunConfig],
    folder: Path,
    archive: Archive,
    *,
    resources: Resources,
    jobs: int = 1,
    keep_state: bool = False,
) -> list[str]:
    """Make runs, each in ``folder/<slug>/``, and say after each how far it is.

    A run that another process is making is left to it; a half-finished one goes on where
    it stopped. A run that fails is noted in its folder and does not stop the others.

    Args:
        runs: not finished yet.
        folder: of all records.
        archive: is brought up to date, for the estimates.
        resources: data, device, and the threads of each process.
        jobs: number of processes, each of which makes one run and ends; 0 makes the runs
            in this process.
        keep_state: keep the state of finished runs (for export), which is large.

    Returns:
        What went wrong, a line for each run.
    """
    if jobs > 1 and resources.threads is None:
        resources = replace(resources, threads=max(1, (os.cpu_count() or 1) // jobs))
    queue = _Queue(list(runs), folder, archive, max(1, jobs))
    work = _in_processes if jobs else _in_this_process
    work(queue, resources, keep_state)
    return queue.problems


class _Queue:
    """The runs still to make, what was said about them, and what went wrong."""

    def __init__(
        self, runs: list[RunConfig], folder: Path, archive: Archive, jobs: int
    ) -> None:
        self.waiting, self.folder, self.archive, self.jobs = runs, folder, archive, jobs
        self.total, self.ended = len(runs), 0
        self.problems: list[str] = []

    def place(self, config: RunConfig) -> Path:
        return self.folder / identity_of(config).slug

    def finished(self, config: RunConfig, code: int, running: Sequence[RunConfig]) -> None:
        """Report one run: by its record, its note of failure, or its exit code."""
        self.ended += 1
        folder = self.place(config)
        record = _last_record(folder / "records.jsonl")
        if record is not None:
            self.archive.records[identity_in(record)] = record
            seconds = sum(record["train_seconds"]) + sum(record["eval_seconds"])
            said = f"AA {record['aa']:.2f} % in {duration(seconds)}"
        else:
            if code < 0:  # killed: no exception, no note of its own
                error = f"the process was ended by signal {-code}"
                write_failure(folder, config, error=error, tasks_done=_tasks_done(folder))
            note = folder / FAILURE
            said = "another process has it (see its file lock)"
            if note.exists():
                said = "failed: " + json.loads(note.read_text())["error"]
            elif code:
                said = "did not run: " + _read_problem(folder)
            if code:
                self.problems.append(f"{describe(config)}: {said}")
        left = time_left([*self.waiting, *running], self.archive, jobs=self.jobs)
        _say(f"[{self.ended}/{self.total}] {describe(config)}: {said}; left: {left}")


def _in_this_process(queue: _Queue, resources: Resources, keep_state: bool) -> None:
    while queue.waiting:
        config = queue.waiting.pop(0)
        code = make_run(config, queue.place(config), resources, keep_state, show=False)
        queue.finished(config, code, ())


def _in_processes(queue: _Queue, resources: Resources, keep_state: bool) -> None:
    """Keep ``jobs`` processes busy; each makes one run, so that its peak memory is its own."""
    # is_available must not initialise CUDA in the server, whose children could not use it
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["avalanche_ham.reporting.execute"])
    running: dict[Any, RunConfig] = {}
    show = queue.jobs == 1
    try:
        while queue.waiting or running:
            while queue.waiting and len(running) < queue.jobs:
                config = queue.waiting.pop(0)
                args = (config, queue.place(config), resources, keep_state, show)
                process = context.Process(target=_child, args=args)
                process.start()
                running[process] = config
            multiprocessing.connection.wait([p.sentinel for p in running])
            for process in [p for p in running if not p.is_alive()]:
                process.join()
                config = running.pop(process)
                queue.finished(config, process.exitcode or 0, list(running.values()))
    except KeyboardInterrupt:
        for process in running:
            process.join()  # the terminal interrupted them too
        raise


def _child(config: RunConfig, folder: Path, *args: Any) -> None:
    try:
        sys.exit(make_run(config, folder, *args))
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def make_run(
    config: RunConfig, folder: Path, resources: Resources, keep_state: bool, show: bool
) -> int:
    """Make one run under its lock, or go on with it; gives an exit code, 0 if all is well.

    Bad input (an option that does not fit, data that are missing) is no result and is not
    noted as a failure, unlike an error in the middle of a run.
    """
    lock = RunLock(folder)
    if not lock.acquire():
        return 0
    done = 0

    def count(current: Any) -> None:
        nonlocal done
        done = current.tasks_done()

    try:
        (folder / FAILURE).unlink(missing_ok=True)
        run(config, resources, out=folder, resume=True, show=show, after_task=count)
        if not keep_state:
            shutil.rmtree(folder / "state", ignore_errors=True)
        return 0
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        if isinstance(error, HamError) and not isinstance(error, DivergedError):
            (folder / "problem.txt").write_text(message + "\n")
        else:
            write_failure(folder, config, error=message, tasks_done=done)
        return 1
    finally:
        lock.release()


def _last_record(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text().splitlines()[-1]) if path.exists() else None


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M')} {line}", file=sys.stderr, flush=True)
