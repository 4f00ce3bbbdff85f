"""One process at a time in an output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from avalanche_ham.errors import HamError
from avalanche_ham.locks import give_back

LOCK = "lock"


class RunLock:
    """Take a folder for this process, or find that another process has it.

    The operating system locks the folder's file ``lock``, and unlocks it when the process that
    holds it ends, however it ends.

    Args:
        folder: made, when the lock is taken, if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / LOCK, thread_local=False)

    def acquire(self) -> bool:
        """Take the lock; False if another process, or another lock of this one, has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Give the lock back, if this object has taken it, and remove its file."""
        if self._lock.is_locked:
            give_back(self._lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an output folder.

    Raises:
        HamError: if the folder is a file, or another process works in it.
    """
    if folder.exists() and not folder.is_dir():
        raise HamError(f"out: {folder} is a file, not a folder")
    lock = RunLock(folder)
    if not lock.acquire():
        raise HamError(f"out: {folder} is in use by another process")
    try:
        yield
    finally:
        lock.release()
