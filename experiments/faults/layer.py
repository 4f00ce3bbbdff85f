"""A layer under the package's file access that fails, or kills, at the n-th call of a function.

It lies over what Python offers: ``os.open``, ``os.fsync``, ..., ``open``, and the ``write`` and
``read`` of the files they give. Only calls on paths below one folder count, so that imports do not.
Every injection is written to a log outside that folder: one that did not happen proves nothing.
"""

from __future__ import annotations

import builtins
import errno
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

BY_PATH = ("open", "replace", "rename", "mkdir", "unlink", "scandir", "stat")
BY_HANDLE = ("fsync", "pread")
CALLS = (*BY_PATH, *BY_HANDLE, "write", "read")
CODES = (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EINTR)
KILL = -1


class Layer:
    """Counts calls below a folder, and makes the n-th one of a function the last or a failure.

    Args:
        folder: calls on other paths pass.
        log: file that takes a line for each injection.
        call: of ``CALLS``; None only counts.
        count: which call, from 1.
        code: an error number, or ``KILL``.
    """

    def __init__(
        self, folder: Path, log: Path, call: str | None = None, count: int = 0, code: int = KILL
    ) -> None:
        self.folder, self.log = os.fspath(folder.resolve()), log
        self.call, self.count, self.code = call, count, code
        self.counts: Counter[str] = Counter()
        self.real = {name: getattr(os, name) for name in (*BY_PATH, *BY_HANDLE, "fdopen")}
        self.builtin_open = builtins.open

    def install(self) -> None:
        """Put the layer in place, in this process and those forked from it."""
        for name in BY_PATH:
            setattr(os, name, self._by_path(name))
        for name in BY_HANDLE:
            setattr(os, name, self._by_handle(name))
        os.fdopen = lambda handle, *args, **kwargs: self._wrapped(
            self.real["fdopen"](handle, *args, **kwargs), self._path_of(handle)
        )
        builtins.open = self._open

    def _open(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(path, int):
            self._pass("open", path)
        return self._wrapped(self.builtin_open(path, *args, **kwargs), path)

    def _by_path(self, name: str) -> Any:
        def passed(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
            self._pass(name, path)
            return self.real[name](path, *args, **kwargs)

        return passed

    def _by_handle(self, name: str) -> Any:
        def passed(handle: int, *args: Any, **kwargs: Any) -> Any:
            self._pass(name, self._path_of(handle))
            return self.real[name](handle, *args, **kwargs)

        return passed

    def _path_of(self, handle: int) -> str:
        try:
            return os.readlink(f"/proc/self/fd/{handle}")
        except OSError:
            return ""

    def _wrapped(self, file: Any, path: Any) -> Any:
        return _File(file, path, self) if self._is_ours(path) else file

    def _is_ours(self, path: Any) -> bool:
        try:
            text = os.path.abspath(os.fsdecode(path))
        except TypeError:
            return False
        return text.startswith(self.folder)

    def _pass(self, name: str, path: Any) -> None:
        if not self._is_ours(path):
            return
        self.counts[name] += 1
        if name == self.call and self.counts[name] == self.count:
            handle = self.real["open"](self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(handle, f"{name} {self.count} {self.code} {os.fsdecode(path)!a}\n".encode())
            os.close(handle)
            if self.code == KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(self.code, os.strerror(self.code), os.fsdecode(path))


class _File:
    """A file whose reads and writes pass the layer."""

    def __init__(self, file: Any, path: Any, layer: Layer) -> None:
        self._file, self._place, self._layer = file, path, layer

    def write(self, data: Any) -> Any:
        self._layer._pass("write", self._place)
        return self._file.write(data)

    def read(self, *args: Any) -> Any:
        self._layer._pass("read", self._place)
        return self._file.read(*args)

    def readline(self, *args: Any) -> Any:
        self._layer._pass("read", self._place)
        return self._file.readline(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Any:
        self._file.__enter__()
        return self

    def __exit__(self, *args: Any) -> Any:
        return self._file.__exit__(*args)

    def __iter__(self) -> Any:
        return iter(self._file)
