"""Large arrays on disk that can be made again: what is read of them is checked.

A file holds the rows, then a description (JSON) with a digest of every block of them, then the
description's length and digest. A small file is checked when it is opened, a large one block by
block, each when it is first touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from avalanche_ham.errors import DataError
from avalanche_ham.files import open_regular, whole_file

__all__ = ["StoredArray", "write_array"]

BLOCK_BYTES = 2**18
CHECKED_AT_ONCE = 2**28  # bytes that take a fraction of a second
_TAIL = 8 + 32  # the description's length and its SHA-256


def write_array(path: Path, batches: Iterable[np.ndarray]) -> None:
    """Write rows, batch by batch; the file gets its name when it is complete.

    Plain writes, because a full disk is an error for them and the end of the process for a
    memory map.

    Args:
        path: in a folder that exists.
        batches: at least one, of shape ``(k, ...)`` and one type.

    Raises:
        OSError: if it cannot be written; nothing is left then.
    """
    with whole_file(path) as file:
        blocks = _Blocks()
        count, row = 0, np.empty(())
        for batch in batches:
            batch = np.ascontiguousarray(batch)
            count, row = count + len(batch), batch[0]
            blocks.size = _rows_per_block(row.nbytes) * row.nbytes
            data = batch.data.cast("B")
            file.write(data)
            blocks.add(data)
        about = {"dtype": row.dtype.str, "shape": [count, *row.shape], "blocks": blocks.finish()}
        text = json.dumps(about).encode()
        file.write(text + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest())


class StoredArray:
    """The rows of a file of ``write_array``, read one by one; none of a damaged block is given.

    Reads go through the file and not through a memory map, where a disk's error or a file cut
    short ends the process. A pickled one holds its path and opens the file again.

    Args:
        path: of the file.

    Attributes:
        shape, ndim, dtype: as of a numpy array.

    Raises:
        OSError: if it cannot be opened.
        DataError: if it is damaged, as far as it was checked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path)
        try:
            about = self._description()
            self.shape, self.dtype = tuple(about["shape"]), np.dtype(about["dtype"])
            self._digests: list[str] = about["blocks"]
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{path} is damaged") from error
        self.ndim = len(self.shape)
        self._row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        self._rows = _rows_per_block(self._row_bytes)
        self._checked = np.zeros(len(self._digests), dtype=bool)
        if len(self) * self._row_bytes <= CHECKED_AT_ONCE:
            for block in range(len(self._digests)):
                self._check(block)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: int) -> np.ndarray:
        """Give a row, read-only.

        Raises:
            DataError: if its block is damaged; the file is removed then.
        """
        index = range(len(self))[index]
        block = index // self._rows
        try:
            if not self._checked[block]:
                self._check(block)
            data = self._read(index * self._row_bytes, self._row_bytes)
        except (DataError, OSError) as error:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            words = f"{error}; it is removed, and made again when the run goes on (--resume)"
            raise DataError(words) from error
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def _description(self) -> dict[str, Any]:
        size = os.fstat(self._file.fileno()).st_size
        if size < _TAIL:
            raise ValueError("there is no description")
        tail = self._read(size - _TAIL, _TAIL)
        length = int.from_bytes(tail[:8], "little")
        if length > size - _TAIL:
            raise ValueError("the description is longer than the file")
        text = self._read(size - _TAIL - length, length)
        if hashlib.sha256(text).digest() != tail[8:]:
            raise ValueError("the description has changed")
        return dict(json.loads(text))

    def _check(self, block: int) -> None:
        start = block * self._rows
        rows = min(self._rows, len(self) - start)
        data = self._read(start * self._row_bytes, rows * self._row_bytes)
        if hashlib.sha256(data).hexdigest() != self._digests[block]:
            raise DataError(f"{self.path} is damaged")
        self._checked[block] = True

    def _read(self, offset: int, count: int) -> bytes:
        """Read so many bytes, without moving the place that forked processes share."""
        if hasattr(os, "pread"):
            data = os.pread(self._file.fileno(), count, offset)
        else:
            self._file.seek(offset)
            data = self._file.read(count)
        if len(data) != count:
            raise DataError(f"{self.path} is cut short")
        return data


class _Blocks:
    """Digests of a stream of bytes, one for every ``size`` of them."""

    def __init__(self) -> None:
        self.size, self._filled = 0, 0
        self._hash, self._digests = hashlib.sha256(), list[str]()

    def add(self, data: memoryview) -> None:
        while data:
            part = data[: self.size - self._filled]
            self._hash.update(part)
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == self.size:
                self._close()

    def finish(self) -> list[str]:
        if self._filled:
            self._close()
        return self._digests

    def _close(self) -> None:
        self._digests.append(self._hash.hexdigest())
        self._hash, self._filled = hashlib.sha256(), 0


def _rows_per_block(row_bytes: int) -> int:
    return max(1, BLOCK_BYTES // max(1, row_bytes))
