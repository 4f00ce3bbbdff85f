"""Decode images once into memory-mapped arrays, which every later run only opens.

An entry of the cache is a folder ``<key>/{train,test}.npy``. It is written under a
temporary name and renamed when complete, so an entry that exists is a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avalanche_ham.benchmarks._decoding import DECODER, decode, stored_size
from avalanche_ham.benchmarks._image_files import ImageFiles
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, check_range

__all__ = ["cache_folder", "cached_sets"]

SAMPLED = 500  # images of each part whose bytes are looked at, spread over the list
SAMPLE_BYTES = 4096  # from the middle: the beginning may be a header and a blank margin
ABANDONED_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """Give ``$AVALANCHE_HAM_CACHE/images``, or ``~/.cache/avalanche_ham/images``."""
    root = os.environ.get("AVALANCHE_HAM_CACHE") or "~/.cache/avalanche_ham"
    return Path(root).expanduser().resolve() / "images"


def cached_sets(train: ImageFiles, test: ImageFiles, *, size: int) -> tuple[ImageSet, ImageSet]:
    """Open the decoded images of both parts; decode them first if that was not done.

    The images become RGB squares, as ``decode`` says. Where all images share one smaller
    size, they are not enlarged. The key of the cache is every file's relative path, size
    and time of change, a sample of the files' bytes, the boxes, and ``size``; it does not
    depend on where the folder lies.

    Args:
        size: side of the squares in pixels, at least 1.

    Raises:
        DataError: if an image is missing, corrupt or of grey values without a known
            range, or the cache cannot be written.
        OptionError: if ``size`` is below 1.
    """
    check_range("size", size, 1, float("inf"))
    parts = {"train": train, "test": test}
    entry = cache_folder() / _key(parts, size)
    for files in parts.values():
        if not files.names:
            raise DataError(f"{files.folder} has no images")
        if entry.is_relative_to(files.folder.resolve()):
            raise DataError(
                f"the image cache must lie outside {files.folder}, but "
                f"AVALANCHE_HAM_CACHE puts it into {entry.parent}"
            )
    if entry.is_dir():
        try:
            return _open(entry, parts)
        except DataError:  # damaged after it was written
            shutil.rmtree(entry, ignore_errors=True)
    _write(entry, parts, size)
    return _open(entry, parts)


def _open(entry: Path, parts: dict[str, ImageFiles]) -> tuple[ImageSet, ImageSet]:
    train, test = (
        ImageSet(entry / f"{part}.npy", targets=files.targets, classes=files.classes)
        for part, files in parts.items()
    )
    return train, test


def _paths(files: ImageFiles) -> Iterator[str]:
    return (os.path.join(files.folder, name) for name in files.names)


def _key(parts: dict[str, ImageFiles], size: int) -> str:
    digest = hashlib.sha256(repr((DECODER, size)).encode())
    for part, files in parts.items():
        digest.update(repr((part, files.boxes)).encode())
        every = math.ceil(len(files.names) / SAMPLED)
        for index, (name, path) in enumerate(zip(files.names, _paths(files))):
            facts = (name, *_facts(path, sampled=index % every == 0))
            digest.update(repr(facts).encode())
    return digest.hexdigest()[:32]


def _facts(path: str, *, sampled: bool) -> tuple[int, int, bytes]:
    """Give a file's size, its time of change and, if sampled, the bytes in its middle."""
    try:
        status = os.stat(path)
        middle = _middle(path, status.st_size) if sampled else b""
    except FileNotFoundError as error:
        raise DataError(f"the image {path} is missing") from error
    except OSError as error:
        message = f"the image {path} cannot be read ({error.strerror})"
        raise DataError(message) from error
    return status.st_size, status.st_mtime_ns, middle


def _middle(path: str, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, (size - SAMPLE_BYTES) // 2))
        return file.read(SAMPLE_BYTES)


def _write(entry: Path, parts: dict[str, ImageFiles], size: int) -> None:
    """Decode all parts into a temporary folder, then give it its name."""
    side = _common_side(parts, size)
    temporary = _temporary_folder(entry)
    try:
        _check_space(temporary, sum(len(f.names) for f in parts.values()), side)
        for part, files in parts.items():
            _decode_all(files, side, temporary / f"{part}.npy")
        with contextlib.suppress(OSError):  # another process was first: same content
            temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_folder(entry: Path) -> Path:
    """Make the folder to decode into; remove what long-killed decodings left."""
    folder = entry.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # another process was first
                if time.time() - old.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=entry.name, suffix=".tmp", dir=folder))
    except OSError as error:
        raise DataError(
            f"the image cache {folder} cannot be written ({error.strerror}); "
            "AVALANCHE_HAM_CACHE names another folder"
        ) from error


def _check_space(folder: Path, images: int, side: int) -> None:
    # A memory-mapped file on a full disk ends the process without a message.
    needed, free = images * 3 * side * side, shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"the image cache needs {needed / 2**30:.1f} GiB, but {folder.parent} has "
            f"{free / 2**30:.1f} GiB left; AVALANCHE_HAM_CACHE names another folder"
        )


def _common_side(parts: dict[str, ImageFiles], size: int) -> int:
    """Give ``size``, or the shorter side if all images share one smaller size."""
    if any(files.boxes for files in parts.values()):
        return size
    shapes = (stored_size(path) for files in parts.values() for path in _paths(files))
    first = next(shapes)
    return min(size, *first) if all(shape == first for shape in shapes) else size


def _decode_all(files: ImageFiles, side: int, target: Path) -> None:
    shape = (len(files.names), 3, side, side)
    out = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    paths, boxes = list(_paths(files)), files.boxes

    def fill(index: int) -> None:
        out[index] = decode(paths[index], side, boxes[index] if boxes else None)

    pool = ThreadPoolExecutor()
    label = f"decoding {target.stem} images"
    try:
        done = pool.map(fill, range(len(paths)))
        for _ in tqdm(done, total=len(paths), desc=label, unit="image", disable=None):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    out.flush()
