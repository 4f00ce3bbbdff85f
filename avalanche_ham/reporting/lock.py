"""A lock file that says which process is making a run; those of dead processes are void."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from pathlib import Path

LOCK = "lock"


class RunLock:
    """Take a run's folder for this process, or find that another process has it.

    The file is made with ``O_EXCL`` and holds the process id, its start and the machine's
    name. One whose process is gone is taken over. Looking, removing and making it happen
    under a file lock of the folder, which the system gives back when a process dies, so two
    processes cannot both take over one stale file.

    Args:
        folder: the run's; made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / LOCK

    def acquire(self) -> bool:
        """Take the lock; False if a living process has it, or one on another machine."""
        guard = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if self.path.exists() and not is_stale(self.path):
                return False
            self.path.unlink(missing_ok=True)
            file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            with os.fdopen(file, "w") as stream:
                json.dump(_holder(os.getpid()), stream)
            return True
        finally:
            os.close(guard)

    def release(self) -> None:
        """Give the lock back."""
        self.path.unlink(missing_ok=True)


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
    """When a process began, where the system tells: process ids are used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
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
