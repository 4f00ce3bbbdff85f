"""One process at a time: where two would do the same work, the second waits for the first."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 2  # seconds before a process that waits says so


@contextlib.contextmanager
def waited_for(place: Path, doing: str) -> Iterator[None]:
    """Hold the lock beside a path; wait for the process that holds it, and say so.

    The system gives the lock back when its process ends, however it ends. Where there can be no
    lock (a folder of somebody else) the body runs without.

    Args:
        place: what is made; the lock is the file ``<place>.lock``.
        doing: what the other process does, for the message.
    """
    lock = FileLock(place.with_name(place.name + ".lock"), mode=0o666)
    try:
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            print(f"waiting for another process that {doing} ({place})", file=sys.stderr)
            lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        give_back(lock)


def give_back(lock: FileLock) -> None:
    """Release a lock and remove its file."""
    if os.name == "posix":  # elsewhere an open file stays, and filelock removes it
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
    lock.release()
