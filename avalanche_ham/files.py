"""Files and folders that are there whole or not at all, and reads that no odd file can hang."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"  # ends the name of what is not whole yet, or never will be
ABANDONED_SECONDS = 24 * 3600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_NEW |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_OLD = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for its writer
_OLD |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file into a path's place: the old one or the new one is there, at any moment."""
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that gets its name, and is on the disk, when the body has ended.

    Until then it has a random name beside it; after an error it is gone. A link at ``path``
    is replaced, not followed.

    Args:
        path: in a folder that exists; its permissions are those of any new file.

    Raises:
        OSError: if it cannot be written; what was there is there still.
    """
    partial = _beside(path)
    handle = os.open(partial, _NEW, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    _sync(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that gets its name, and is on the disk, when the body has ended.

    Args:
        path: not there, or an empty folder.

    Raises:
        OSError: if it cannot be written; nothing is left then.
    """
    partial = _beside(path)
    partial.mkdir()
    try:
        yield partial
        for folder, _, names in os.walk(partial, topdown=False):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(path.parent)


def remove_abandoned(folder: Path, *, seconds: float = ABANDONED_SECONDS) -> None:
    """Remove what processes that were killed while they wrote have left in a folder.

    Args:
        folder: only what lies in it directly.
        seconds: how long ago it was last written; 0 where no other process can be writing.
    """
    for old in folder.glob("*" + PARTIAL):
        with contextlib.suppress(OSError):  # another process was first
            if time.time() - old.lstat().st_mtime >= seconds:
                if old.is_dir() and not old.is_symlink():
                    shutil.rmtree(old, ignore_errors=True)
                else:
                    old.unlink()


def open_regular(path: str | os.PathLike[str], *, limit: float = float("inf")) -> BinaryIO:
    """Open a file to read, unless reading it might never end.

    Args:
        path: of a file, or a link to one.
        limit: its largest size in bytes.

    Raises:
        OSError: if it cannot be opened, is a pipe, a device or a folder, or is larger.
    """
    handle = os.open(path, _OLD)
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISREG(status.st_mode):
        raise OSError(errno.EFBIG, f"it is larger than {limit / 2**20:g} MiB", os.fspath(path))
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
    raise OSError(errno.EINVAL, f"it is {kind}, not a file", os.fspath(path))


def read_regular(path: str | os.PathLike[str], *, limit: float = float("inf")) -> bytes:
    """Read a whole file; args and raises as ``open_regular``."""
    with open_regular(path, limit=limit) as file:
        return file.read()


def _beside(path: Path) -> Path:
    """Give a random name in the same folder, hence on the same disk."""
    return path.with_name(f"{path.name[:40]}.{secrets.token_hex(8)}{PARTIAL}")


def _sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's names; not every system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems over a network
            raise
    finally:
        os.close(handle)
