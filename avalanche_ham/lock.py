"""A lock file that says which process works in a folder; a dead process holds nothing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from avalanche_ham.errors import HamError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows, where two processes must keep out of each other's way themselves
    fcntl = None

LOCK = "lock"


class RunLock:
    """Take a folder for this process, or find that another process has it.

    The file is made with ``O_EXCL`` and holds the process id, its start and the machine's
    name. One whose process is gone is taken over. Looking, removing and making it happen
    under a file lock of the folder, which the system gives back when a process dies, so two
    processes cannot both take over one stale file.

    Where the system has no such file locks (Windows) nothing is locked.

    Args:
        folder: made, when the lock is taken, if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOCK
        self.is_held = False

    def acquire(self) -> bool:
        """Take the lock; False if a living process has it, or one on another machine."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return True
        guard = os.open(self.folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems have no such locks
                fcntl.flock(guard, fcntl.LOCK_EX)
            if self.path.exists() and not is_stale(self.path):
                return False
            self.path.unlink(missing_ok=True)
            file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            with os.fdopen(file, "w") as stream:
                json.dump(_holder(os.getpid()), stream)
            self.is_held = True
            return True
        finally:
            os.close(guard)

    def release(self) -> None:
        """Give the lock back, if this object has taken it."""
        if self.is_held:
            self.path.unlink(missing_ok=True)
        self.is_held = False


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
        raise HamError(f"out: {folder} is in use by {_who(lock.path)}")
    try:
        yield
    finally:
        lock.release()


def _who(path: Path) -> str:
    """Say who holds a lock, and what to do about one that cannot be seen from here."""
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError):  # given back, or taken over, this very moment
        return "another process"
    if holder["machine"] == platform.node():
        return f"process {holder['pid']}"
    gone = f"if it has ended, remove {path}"
    return f"process {holder['pid']} on {holder['machine']}; {gone}"


def is_stale(path: Path) -> bool:
    """Whether a lock file's process is gone; one of another machine never is, to us."""
    try:
        holder = json.loads(path.read_text())
        pid, machine = holder["pid"], holder["machine"]
    except (OSError, ValueError, KeyError, TypeError):
        return True  # half written by a process that died
    if machine != platform.node():
        return False
    return _holder(pid) != holder or not _is_alive(pid)


def _holder(pid: int) -> dict[str, object]:
    return {"pid": pid, "start": _start_of(pid), "machine": platform.node()}


def _start_of(pid: int) -> str:
    """When a process began, where the system tells: process ids are used again.

    Nothing for one that has ended and whose parent has not asked for its exit code yet.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    if fields[0] == "Z":
        return ""
    return fields[19]  # field 22 of the file, clock ticks since the machine started


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
