"""What is in an image file, told by a digest that is computed once and then remembered.

A file's digest is remembered for as long as the system says that the file is the same one and
has not changed: same size, inode, time of modification and time of change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from avalanche_ham.errors import DataError
from avalanche_ham.files import read_regular, write_whole

__all__ = ["DIGEST_BYTES", "digest_of", "file_digests"]

DIGEST_BYTES = 16
LARGEST = 2**30  # bytes of an image file; what is larger is none
SETTLED_NS = 2_000_000_000  # a file that changed this lately may change again in the same tick


def digest_of(data: bytes | memoryview) -> str:
    """Give the first 32 hexadecimal digits of a SHA-256."""
    return hashlib.sha256(data).hexdigest()[: 2 * DIGEST_BYTES]


def file_digests(folder: Path, names: list[str], memory: Path) -> list[str]:
    """Give the digest of each file's bytes.

    Args:
        folder: holds the files.
        names: relative to the folder.
        memory: folder in which the digests are remembered, in one file for each ``folder``; one
            that cannot be written costs time, not the result.

    Raises:
        DataError: if a file is missing or cannot be read.
    """
    place = memory / f"{digest_of(os.fsencode(folder.resolve()))}.json"
    known = _read(place)
    facts = {name: _facts(folder / name) for name in names}
    new = [name for name in names if known.get(name, [None])[:4] != facts[name]]
    with ThreadPoolExecutor() as pool:
        found = dict(zip(new, pool.map(lambda name: _digest(folder / name), new)))
    digests = [found[name] if name in found else known[name][4] for name in names]
    settled = time.time_ns() - SETTLED_NS
    if any(facts[name][3] < settled for name in new):
        entries = zip(names, digests)
        kept = {n: [*facts[n], digest] for n, digest in entries if facts[n][3] < settled}
        _write(place, {**known, **kept})
    return digests


def _facts(path: Path) -> list[int]:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise DataError(f"the image {path} is missing") from error
    except OSError as error:
        raise DataError(f"the image {path} cannot be read ({error.strerror})") from error
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _digest(path: Path) -> str:
    try:
        return digest_of(read_regular(path, limit=LARGEST))
    except OSError as error:
        raise DataError(f"the image {path} cannot be read ({error.strerror})") from error


def _read(place: Path) -> dict[str, list]:
    """Read what is remembered; a damaged memory is no memory."""
    try:
        digest, _, text = read_regular(place).partition(b"\n")
        known = json.loads(text) if digest == digest_of(text).encode() else {}
    except (OSError, ValueError):
        return {}
    return known


def _write(place: Path, known: dict[str, list]) -> None:
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(known).encode()
        write_whole(place, digest_of(text).encode() + b"\n" + text)
