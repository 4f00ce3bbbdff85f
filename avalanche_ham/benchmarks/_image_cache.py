"""Decode images once into memory-mapped arrays, which every later run only opens.

An entry of the cache is a folder ``<key>/{train,test}.npy``. It is written under a
temporary name and renamed when complete, so an entry that exists is a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from avalanche_ham.benchmarks._image_files import Box, ImageFiles
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, check_range

__all__ = ["cache_folder", "cached_sets"]

# To be raised when decoding gives other pixels, so that old entries are not found.
DECODER = 1
# Plain raster formats only: PIL hands others (EPS) to outside programs.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ABANDONED_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """Give ``$AVALANCHE_HAM_CACHE/images``, or ``~/.cache/avalanche_ham/images``."""
    root = os.environ.get("AVALANCHE_HAM_CACHE") or "~/.cache/avalanche_ham"
    return Path(root).expanduser().resolve() / "images"


def cached_sets(
    train: ImageFiles, test: ImageFiles, *, size: int
) -> tuple[ImageSet, ImageSet]:
    """Open the decoded images of both parts; decode them first if that was not done.

    The images become RGB squares: the shorter side is resized to ``size`` (bicubic,
    antialiased) and the centre kept. Where all images share one smaller size, they are
    not enlarged. The key of the cache is every file's relative path, size and time of
    change, its box, and ``size``.

    Args:
        size: side of the squares in pixels, at least 1.

    Raises:
        DataError: if an image is missing or corrupt, or the cache cannot be written.
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
        for name, path in zip(files.names, _paths(files)):
            try:
                status = os.stat(path)
            except OSError as error:
                raise DataError(f"the image {path} is missing") from error
            facts = (name, status.st_size, status.st_mtime_ns)
            digest.update(repr(facts).encode())
    return digest.hexdigest()[:32]


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
    shapes = (_shape(path) for files in parts.values() for path in _paths(files))
    first = next(shapes)
    return min(size, *first) if all(shape == first for shape in shapes) else size


def _shape(path: str) -> tuple[int, int]:
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception as error:  # damaged files make PIL raise nearly anything
        raise DataError(f"{path} is corrupt or not an image") from error


def _decode_all(files: ImageFiles, side: int, target: Path) -> None:
    shape = (len(files.names), 3, side, side)
    out = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    paths, boxes = list(_paths(files)), files.boxes

    def decode(index: int) -> None:
        out[index] = _decode(paths[index], side, boxes[index] if boxes else None)

    pool = ThreadPoolExecutor()
    label = f"decoding {target.stem} images"
    try:
        done = pool.map(decode, range(len(paths)))
        for _ in tqdm(done, total=len(paths), desc=label, unit="image", disable=None):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    out.flush()


def _decode(path: str, side: int, box: Box | None) -> np.ndarray:
    """Read one image as a uint8 square of shape ``(3, side, side)``."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            part = image.crop(_inside(box, image.size)) if box else image
            rgb = part.convert("RGB")
            square = ImageOps.fit(rgb, (side, side), method=Image.Resampling.BICUBIC)
    except Exception as error:  # damaged files make PIL raise nearly anything
        raise DataError(f"{path} is corrupt or not an image") from error
    return np.asarray(square).transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)


def _inside(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
