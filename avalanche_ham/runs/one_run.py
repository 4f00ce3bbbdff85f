"""Make one run of a table in its own folder: locked, resumable, its failure noted."""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from avalanche_ham.errors import DivergedError, HamError
from avalanche_ham.runs.archive import FAILURE, write_failure
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.lock import RunLock
from avalanche_ham.runs.records import RECORDS, Record, read_records
from avalanche_ham.runs.runner import run

PROGRESS = "progress"  # a file that holds the number of finished tasks


def make_run(
    config: RunConfig,
    folder: Path,
    resources: Resources,
    *,
    keep_state: bool = False,
    show: bool = False,
) -> int:
    """Make a run, or go on with it where it stopped; leave it if another process has it.

    Args:
        config: what to run.
        folder: the run's own, for its record, state, lock and note of failure.
        resources: data, device and threads.
        keep_state: keep the state of the finished run, which export needs and is large.
        show: print the run's progress.

    Returns:
        An exit code: 0, also for a run that is left to another process, or 1.
    """
    lock = RunLock(folder)
    try:
        if not lock.acquire():
            return 0
        (folder / FAILURE).unlink(missing_ok=True)
        run(
            config,
            resources,
            out=folder,
            resume=True,
            show=show,
            after_task=_count(folder),
            lock=False,
        )
        (folder / PROGRESS).unlink(missing_ok=True)
        if not keep_state:
            shutil.rmtree(folder / "state", ignore_errors=True)
        return 0
    except Exception as error:
        note_failure(config, folder, error)
        return 1
    finally:
        lock.release()


def note_failure(config: RunConfig, folder: Path, error: Exception | str) -> None:
    """Write why a run failed, or say it where nothing can be written.

    Bad input is marked: it is no result and is tried again.
    """
    is_input = isinstance(error, HamError) and not isinstance(error, DivergedError)
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    trace = traceback.format_exception(error) if isinstance(error, Exception) else []
    cause = " ".join(text.split())[:500]
    try:
        write_failure(
            folder,
            config,
            error=cause,
            tasks_done=tasks_done(folder),
            bad_input=is_input,
            traceback="".join(trace),
        )
    except OSError as why:
        print(f"ham: {cause}; {folder} cannot take a note of it: {why}", file=sys.stderr)


def tasks_done(folder: Path) -> int:
    """Number of tasks that an unfinished run has finished."""
    path = folder / PROGRESS
    return int(path.read_text() or 0) if path.exists() else 0


def outcome(folder: Path) -> tuple[list[Record], str | None]:
    """Give a run's records, one per head, or its error, or neither while it is unfinished."""
    records, failure = folder / RECORDS, folder / FAILURE
    if records.exists():
        return read_records(records), None
    return [], json.loads(failure.read_text())["error"] if failure.exists() else None


def _count(folder: Path) -> Any:
    return lambda current: (folder / PROGRESS).write_text(str(current.tasks_done()))
