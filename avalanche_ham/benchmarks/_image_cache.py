"""Decode images once into arrays on disk, which every later run only opens.

An entry of the cache is a folder ``<key>/{train,test}.rows``. It is written under a
temporary name and renamed when complete, so an entry that exists is a whole one; what is read
of it is checked. Processes that want the same entry wait for the one that makes it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avalanche_ham.arrays import StoredArray, write_array
from avalanche_ham.benchmarks._decoding import DECODER, decode, stored_size
from avalanche_ham.benchmarks._image_digests import digest_of, file_digests
from avalanche_ham.benchmarks._image_files import Box, ImageFiles
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, check_whole
from avalanche_ham.files import remove_abandoned, whole_folder
from avalanche_ham.locks import waited_for

__all__ = ["cache_folder", "cached_sets"]

WINDOW = 512  # images that are decoded ahead of writing them


def cache_folder() -> Path:
    """Give ``$AVALANCHE_HAM_CACHE/images``, or ``~/.cache/avalanche_ham/images``."""
    root = os.environ.get("AVALANCHE_HAM_CACHE") or "~/.cache/avalanche_ham"
    return Path(root).expanduser().resolve() / "images"


def cached_sets(
    train: ImageFiles, test: ImageFiles, *, size: int, enlarge: bool = False
) -> tuple[ImageSet, ImageSet]:
    """Open the decoded images of both parts; decode them first if that was not done.

    The images become RGB squares, as ``decode`` says. Where all images share one smaller
    size, they are enlarged only if that is asked for. The key of the cache is every file's
    relative path and content, the boxes, ``size`` and ``enlarge``; it does not depend on where
    the folder lies.

    Args:
        size: side of the squares in pixels, at least 1.
        enlarge: bring smaller images of one size to ``size``, too.

    Raises:
        DataError: if an image is missing, corrupt or of grey values without a known
            range, or the cache cannot be written.
        OptionError: if ``size`` is below 1.
    """
    check_whole("size", size, 1)
    parts = {"train": train, "test": test}
    _check_places(parts)
    memory = cache_folder().parent / "digests"
    digests = {k: file_digests(f.folder, f.names, memory) for k, f in parts.items()}
    entry = cache_folder() / _key(parts, digests, size, enlarge)
    with contextlib.suppress(OSError, DataError):  # missing or damaged
        return _open(entry, parts, digests)
    _make_folder(entry.parent)
    with waited_for(entry, "decodes these images"):
        if entry.is_dir():
            try:
                return _open(entry, parts, digests)
            except (OSError, DataError) as error:  # damaged after it was written
                warnings.warn(f"{error}; the images are decoded again", stacklevel=2)
                shutil.rmtree(entry, ignore_errors=True)
        _write(entry, parts, size if enlarge else _common_side(parts, size))
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
            StoredArray(entry / f"{part}.rows"),
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


def _key(
    parts: dict[str, ImageFiles], digests: dict[str, list[str]], size: int, enlarge: bool
) -> str:
    told = [(part, f.names, digests[part], f.boxes) for part, f in parts.items()]
    key = (DECODER, size, told, "enlarged") if enlarge else (DECODER, size, told)
    return digest_of(repr(key).encode())


def _write(entry: Path, parts: dict[str, ImageFiles], side: int) -> None:
    """Decode all parts into a folder that gets its name when they are complete."""
    try:
        with whole_folder(entry) as folder:
            _check_space(folder, sum(len(f.names) for f in parts.values()), side)
            for part, files in parts.items():
                write_array(folder / f"{part}.rows", _decoded(files, side, part))
    except OSError as error:
        raise _unwritable(entry.parent, error) from error


def _make_folder(folder: Path) -> None:
    """Make the folder of all entries; remove what long-killed decodings left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"the image cache {folder} cannot be written ({error.strerror}); "
        "AVALANCHE_HAM_CACHE names another folder"
    )


def _check_space(folder: Path, images: int, side: int) -> None:
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


def _decoded(files: ImageFiles, side: int, part: str) -> Iterator[np.ndarray]:
    """Give the decoded images ``(k, 3, side, side)``, a window at a time."""
    paths, boxes = list(_paths(files)), files.boxes or itertools.repeat(None)
    jobs = list(zip(paths, itertools.repeat(side), boxes))
    pool = ThreadPoolExecutor()
    try:
        with tqdm(
            total=len(jobs), desc=f"decoding {part} images", unit="image", disable=None
        ) as bar:
            for start in range(0, len(jobs), WINDOW):
                window = jobs[start : start + WINDOW]
                rows = list(pool.map(lambda job: decode(*job), window))
                yield np.stack(rows)
                bar.update(len(rows))
    finally:
        pool.shutdown(cancel_futures=True)
