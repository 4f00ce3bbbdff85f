"""Make the missing runs of a table, in this process or in several at a time."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from avalanche_ham.process import PATIENCE, lost_terminal_survived, serve_parent, stopping
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.one_run import NO_DISK, make_run, outcome
from avalanche_ham.runs.plan import Times, describe, duration, time_left
from avalanche_ham.runs.records import seconds_of


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
        runs: not finished yet; see ``together`` for those that share their training.
        folder: of all records.
        archive: brought up to date here, for the estimates.
        resources: data, device, and the threads of each process.
        jobs: number of processes, each of which makes one run and ends, so that its peak
            memory is its own; 0 makes all runs in this process.
        keep_state: keep the state of finished runs, see ``make_run``.

    Returns:
        What went wrong, a line for each run.
    """
    if jobs > 1 and resources.threads is None:
        resources = replace(resources, threads=max(1, (os.cpu_count() or 1) // jobs))
    queue = Queue(list(runs), folder, archive, max(1, jobs))
    if jobs:
        with stopping():  # so that a kill reaches the processes too, as Ctrl-C does
            _in_processes(queue, resources, keep_state)
    else:
        for config in queue.take():
            code = make_run(config, queue.place(config), resources, keep_state=keep_state)
            queue.report(config, code, running=())
    return queue.problems


@dataclass
class Queue:
    """The runs still to make, how many have ended, and what went wrong."""

    waiting: list[RunConfig]
    folder: Path
    archive: Archive
    jobs: int
    ended: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count the runs, and how long those like them took."""
        self.total = len(self.waiting)
        self.times = Times(self.archive)

    def take(self) -> Any:
        """Yield the waiting runs in order."""
        while self.waiting:
            yield self.waiting.pop(0)

    def place(self, config: RunConfig) -> Path:
        """Give a run's folder."""
        return self.folder / self.archive.identity(config).slug

    def report(
        self, config: RunConfig, code: int, *, running: Sequence[RunConfig], why: str = ""
    ) -> None:
        """Say how a run ended, by its record, its note of failure, ``why`` or its exit code."""
        self.ended += 1
        folder = self.place(config)
        if code < 0:  # no failure of the method, so no note of one: the next command goes on
            why = f"its process was ended by signal {-code}; the same command goes on with it"
        records, error = outcome(folder)
        if records:
            for record in records:
                self.archive.add(record)
                self.times.add(record)
            seconds = seconds_of(records[0])
            scores = ", ".join(f"{r['head']} {r['aa']:.2f} %" for r in records)
            said = f"AA {scores} in {duration(seconds)}"
        elif code:
            said = f"failed: {error or why or f'exit code {code}'}"
            self.problems.append(f"{describe(config)}: {said}")
            if code == NO_DISK:  # so would the others, each after its training
                self.waiting.clear()
        else:
            said = f"another process has it, see {folder / 'lock'}"
        left = time_left([*self.waiting, *running], self.times, jobs=self.jobs)
        line = f"[{self.ended}/{self.total}] {describe(config)}: {said}; left: {left}"
        print(f"{time.strftime('%H:%M')} {line}", file=sys.stderr, flush=True)


def _in_processes(queue: Queue, resources: Resources, keep_state: bool) -> None:
    """Keep ``jobs`` processes busy until no run waits."""
    context = _process_context()
    running: dict[Any, RunConfig] = {}
    show = queue.jobs == 1  # two progress bars would overwrite each other
    waiting = queue.take()
    try:
        while queue.waiting or running:
            while queue.waiting and len(running) < queue.jobs:
                config = next(waiting)
                args = (config, queue.place(config), resources, keep_state, show)
                process = context.Process(target=_child, args=args)
                process.start()
                running[process] = config
            multiprocessing.connection.wait([process.sentinel for process in running])
            for process in [p for p in running if not p.is_alive()]:
                process.join()
                config = running.pop(process)
                queue.report(config, process.exitcode or 0, running=list(running.values()))
    except KeyboardInterrupt:
        deadline = time.monotonic() + PATIENCE
        for process in running:  # a terminal has interrupted them too
            process.join(max(0, deadline - time.monotonic()))
            process.terminate()  # a run is left as after any kill: it can go on
            process.join()
        raise


def _process_context() -> Any:
    """Processes forked from a server that has the imports behind it and computes nothing.

    Where no process can be forked (Windows) each is started anew.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    # else torch's search for a GPU would initialise CUDA in the server and spoil its children
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([make_run.__module__])
    return context


def _child(
    config: RunConfig, folder: Path, resources: Resources, keep_state: bool, show: bool
) -> None:
    serve_parent()
    with lost_terminal_survived():
        sys.exit(make_run(config, folder, resources, keep_state=keep_state, show=show))
