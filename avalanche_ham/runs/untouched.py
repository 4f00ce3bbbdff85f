"""What the untouched backbone tells of each task: measured once for all runs on the same images."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avalanche_ham.benchmarks._image_cache import cache_folder
from avalanche_ham.benchmarks._image_digests import digest_of
from avalanche_ham.files import read_regular, write_whole

FORMAT = 1  # to be raised when the same backbone and images give other accuracies
LIMIT = 2**20  # bytes


def untouched_file(parts: tuple[Any, ...]) -> Path:
    """Give the file of what follows from these parts: weights, images, tasks, size, place."""
    name = digest_of(repr((FORMAT, *parts)).encode())
    return cache_folder().parent / "untouched" / f"{name}.json"


def kept_accuracies(path: Path, n: int, measure: Callable[[], list[float]]) -> list[float]:
    """Read n accuracies in [0, 1]; where they are missing or damaged, measure and keep them.

    A folder that cannot be written is no error: they are then measured by every run.
    """
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(read_regular(path, limit=LIMIT))
        if _sound(found, n):
            return found
    found = measure()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(found).encode())
    return found


def _sound(found: Any, n: int) -> bool:
    if not isinstance(found, list) or len(found) != n:
        return False
    return all(isinstance(value, float) and 0.0 <= value <= 1.0 for value in found)
