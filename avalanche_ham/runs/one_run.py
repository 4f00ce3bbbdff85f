"""Make one run of a table in its own folder: locked, resumable, its failure noted."""

from __future__ import annotations

import errno
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from avalanche_ham.errors import DivergedError, HamError, StorageError
from avalanche_ham.files import read_regular, write_whole
from avalanche_ham.runs.archive import FAILURE, read_failure, write_failure
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.folder import STATE
from avalanche_ham.runs.lock import RunLock
from avalanche_ham.runs.records import RECORDS, Record, read_records
from avalanche_ham.runs.runner import run

PROGRESS = "progress"  # a file that holds the number of finished tasks
DONE, FAILED, NO_DISK = 0, 1, 74


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
        An exit code: ``DONE``, also for a run that is left to another process, ``FAILED``, or
        ``NO_DISK`` if the disk is full or fails, which is no failure of the method.
    """
    lock = RunLock(folder)
    try:
        if not lock.acquire():
            return DONE
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
        tidy(folder, keep_state=keep_state)
        return DONE
    except Exception as error:
        note_failure(config, folder, error)
        return NO_DISK if _is_of_disk(error) else FAILED
    finally:
        lock.release()


def _is_of_disk(error: Exception) -> bool:
    """Whether every other run would meet the same error."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def tidy(folder: Path, *, keep_state: bool) -> None:
    """Remove what a finished run needs no more."""
    if not keep_state:
        shutil.rmtree(folder / STATE, ignore_errors=True)
    (folder / PROGRESS).unlink(missing_ok=True)  # last: it tells that there is more to remove


def tidy_after_kill(folder: Path, *, keep_state: bool) -> None:
    """Remove it of a run that was killed between its record and its tidying."""
    lock = RunLock(folder)
    if (folder / PROGRESS).exists() and (folder / RECORDS).exists() and lock.acquire():
        tidy(folder, keep_state=keep_state)
        lock.release()


def note_failure(config: RunConfig, folder: Path, error: Exception) -> None:
    """Write why a run failed, or say it where nothing can be written.

    Bad input and a full disk are marked: they are no result, and the run is tried again.
    """
    is_input = isinstance(error, (HamError, OSError)) and not isinstance(error, DivergedError)
    cause = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    try:
        write_failure(
            folder,
            config,
            error=cause,
            tasks_done=tasks_done(folder),
            bad_input=is_input,
            traceback="".join(traceback.format_exception(error)),
        )
    except OSError as why:
        print(f"ham: {cause}; {folder} cannot take a note of it: {why}", file=sys.stderr)


def tasks_done(folder: Path) -> int:
    """Number of tasks that an unfinished run has finished; 0 where the note of it is damaged."""
    try:
        return int(read_regular(folder / PROGRESS, limit=100))
    except (OSError, ValueError):
        return 0


def outcome(folder: Path) -> tuple[list[Record], str | None]:
    """Give a run's records, one per head, or its error, or neither while it is unfinished."""
    if (folder / RECORDS).exists():
        return read_records(folder / RECORDS), None
    try:
        return [], str(read_failure(folder / FAILURE)["error"])
    except (OSError, ValueError, LookupError, TypeError):  # none, or a damaged one
        return [], None


def _count(folder: Path) -> Any:
    return lambda current: write_whole(folder / PROGRESS, str(current.tasks_done()).encode())
