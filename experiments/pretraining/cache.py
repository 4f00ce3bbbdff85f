"""Compute something once per image and keep it in a memory-mapped file; go on after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def cached_rows(
    path: Path,
    shape: tuple[int, ...],
    compute: Callable[[int, int], np.ndarray],
    *,
    batch: int = 64,
    save_seconds: float = 20.0,
    report: Callable[[str], None] = print,
) -> np.ndarray:
    """Open the float16 array ``path``; compute the rows that are still missing first.

    An unfinished array is called ``<path>.partial`` and ``<path>.rows`` counts its rows.

    Args:
        path: the ``.npy`` file.
        shape: of the whole array, ``(N, ...)``.
        compute: ``(start, stop)`` -> rows ``(stop - start, ...)``.
        batch: rows per call.
        save_seconds: how often the rows are secured on disk and progress is reported.

    Returns:
        The array, memory-mapped, read-only.

    Raises:
        ValueError: if the file holds an array of another shape.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, counter = path.with_suffix(".partial"), path.with_suffix(".rows")
        start = int(counter.read_text()) if counter.exists() and partial.exists() else 0
        rows = np.lib.format.open_memmap(partial, "r+" if start else "w+", np.float16, shape)
        begun, next_report, first = time.monotonic(), save_seconds, start
        while start < shape[0]:
            stop = min(start + batch, shape[0])
            rows[start:stop] = compute(start, stop)
            start = stop
            elapsed = time.monotonic() - begun
            if elapsed > next_report:
                rows.flush()
                counter.write_text(str(start))
                left = elapsed / (start - first) * (shape[0] - start)
                report(f"{path.stem}: {start} of {shape[0]}, {left:.0f} s left")
                next_report = elapsed + save_seconds
        rows.flush()
        partial.rename(path)
        counter.unlink(missing_ok=True)
    found = np.load(path, mmap_mode="r")
    if found.shape != shape:
        raise ValueError(f"{path} has shape {found.shape}, not {shape}: a cache of other images")
    return found
