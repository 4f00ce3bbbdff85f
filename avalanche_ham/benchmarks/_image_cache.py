"""Decode images once into memory-mapped arrays, which every later run only opens.

An entry of the cache is a folder ``<key>/{train,test}.npy``. It is written under a
temporary name and renamed when complete, so an entry that exists is a whole one.
"""

from __future__ import annotations

import contextlib
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
from avalanche_ham.benchmarks._image_digests import digest_of, file_digests
from avalanche_ham.benchmarks._image_files import Box, ImageFiles
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, check_range

__all__ = ["cache_folder", "cached_sets"]

ABANDONED_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """Give ``$AVALANCHE_HAM_CACHE/images``, or ``~/.cache/avalanche_ham/images``."""
    root = os.environ.get("AVALANCHE_HAM_CACHE") or "~/.cache/avalanche_ham"
    return Path(root).expanduser().resolve() / "images"


def cached_sets(train: ImageFiles, test: ImageFiles, *, size: int) -> tuple[ImageSet, ImageSet]:
    """Open the decoded images of both parts; decode them first if that was not done.

    The images become RGB squares, as ``decode`` says. Where all images share one smaller
    size, they are not enlarged. The key of the cache is every file's relative path and
    content, the boxes, and ``size``; it does not depend on where the folder lies.

    Args:
        size: side of the squares in pixels, at least 1.

    Raises:
        DataError: if an image is missing, corrupt or of grey values without a known
            range, or the cache cannot be written.
        OptionError: if ``size`` is below 1.
    """
    check_range("size", size, 1, float("inf"))
    parts = {"train": train, "test": test}
    _check_places(parts)
    memory = cache_folder().parent / "digests"
    digests = {k: file_digests(f.folder, f.names, memory) for k, f in parts.items()}
    entry = cache_folder() / _key(parts, digests, size)
    if entry.is_dir():
        try:
            return _open(entry, parts, digests)
        except DataError:  # damaged after it was written
            shutil.rmtree(entry, ignore_errors=True)
    _write(entry, parts, size)
    return _open(entry, parts, digests)


def _check_places(parts: dict[str, ImageFiles]) -> None:
    for files in parts.values():
        if not files.names:
            raise DataError(f"{files.folder} has no images")
        if cache_folder().is_relative_to(files.folder.resolve()):
            raise DataError(
                f"the image cache must lie outside {files.folder}, but "
                f"AVALANCHE_HAM_CACHE puts it into {cache_folder()}"
            )


def _open(
    entry: Path, parts: dict[str, ImageFiles], digests: dict[str, list[str]]
) -> tuple[ImageSet, ImageSet]:
    train, test = (
        ImageSet(
            entry / f"{part}.npy",
            targets=files.targets,
            classes=files.classes,
            digests=_with_boxes(digests[part], files.boxes),
        )
        for part, files in parts.items()
    )
    return train, test


def _with_boxes(digests: list[str], boxes: list[Box] | None) -> list[str]:
    """Tell an image by what is cut from it, too."""
    if boxes is None:
        return digests
    return [digest_of(repr(pair).encode()) for pair in zip(digests, boxes, strict=True)]


def _paths(files: ImageFiles) -> Iterator[str]:
    return (os.path.join(files.folder, name) for name in files.names)


def _key(parts: dict[str, ImageFiles], digests: dict[str, list[str]], size: int) -> str:
    told = [(part, f.names, digests[part], f.boxes) for part, f in parts.items()]
    return digest_of(repr((DECODER, size, told)).encode())


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
