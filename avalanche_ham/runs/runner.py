"""Run one method on one benchmark: train, evaluate, commit after every task, write a record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from avalanche_ham.errors import check_path
from avalanche_ham.runs.config import Resources, RunConfig, at_its_place, resolve_config
from avalanche_ham.runs.folder import STATE, finished_records, has_state, storing
from avalanche_ham.runs.lock import locked
from avalanche_ham.runs.record import make_record
from avalanche_ham.runs.records import RECORDS, Record, write_records
from avalanche_ham.runs.run import Run
from avalanche_ham.runs.tracking import check_tracker, tracking

__all__ = ["Resources", "Run", "RunConfig", "run", "run_heads"]


def run(config: RunConfig, resources: Resources = Resources(), **options: Any) -> Record:
    """Run a configuration to its end and give the record of its (first) head.

    Args, options and raises as ``run_heads``.
    """
    return run_heads(config, resources, **options)[0]


def run_heads(
    config: RunConfig,
    resources: Resources,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    show: bool = True,
    after_task: Callable[[Run], None] | None = None,
    lock: bool = True,
) -> list[Record]:
    """Run a configuration to its end and give the records of its heads.

    Args:
        config: what to run.
        resources: where and on what.
        out: folder for ``records.jsonl`` and ``state/``; None keeps nothing.
        resume: go on from the state in ``out``; with none there, start afresh.
        show: print progress to standard error.
        after_task: called with the run after each committed task.
        lock: hold the lock of ``out`` meanwhile; False if the caller does.

    Raises:
        HamError: for bad input, before anything is written, or if another process works
            in ``out``.
        DivergedError: if the training does; the tasks before stay.
        StorageError: if ``out`` cannot be written; it says how many tasks are safe.
    """
    out = None if out is None else check_path("out", out)
    check_tracker(resources.track, out)
    config, resources = at_its_place(config, resources)
    current = Run(resolve_config(config), resources, show=show)
    with nullcontext() if out is None or not lock else locked(out):
        if out is not None:
            finished = finished_records(current, out, resume=resume)
            if finished:
                return finished
            if resume and has_state(out):
                current.restore(out / STATE)
        return _finish(current, out, after_task)


def _finish(
    current: Run, out: Path | None, after_task: Callable[[Run], None] | None
) -> list[Record]:
    """Do the tasks that are left, commit each, and write the records."""
    with current.progress, tracking(current, out) as tell:
        while current.tasks_done() < current.settings.n_tasks:
            safe = current.tasks_done()
            current.next_task()
            if out is not None:
                with storing(out, safe, current.settings.n_tasks):
                    current.commit(out / STATE)
            tell()
            if after_task is not None:
                after_task(current)
    records = [make_record(current, head) for head in current.settings.heads]
    if out is not None:
        with storing(out, current.tasks_done(), current.settings.n_tasks):
            write_records(out / RECORDS, *records)
    return records
