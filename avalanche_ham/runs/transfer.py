"""Forward transfer of a run: features on each task before it, and those of the untouched backbone.

The latter are the same for all runs on the same images: the first of them keeps its accuracies
beside the image cache.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avalanche_ham.benchmarks._image_cache import cache_folder
from avalanche_ham.benchmarks._image_digests import digest_of
from avalanche_ham.evaluation.forward_transfer import class_mean_accuracy
from avalanche_ham.files import read_regular, write_whole
from avalanche_ham.runs.config import asked_size

FORMAT = 1  # to be raised when the same backbone and images give other accuracies
LIMIT = 2**20  # bytes


def probe_transfer(run: Any, index: int) -> None:
    """Measure the features on a task before it is trained; before the first, on all the others.

    Args:
        run: a ``Run``, whose ``measured["before"]`` or ``["untouched"]`` grows.
        index: of the task, from 0.
    """
    strategy, measured = run.strategy, run.measured
    streams = run.benchmark.train_stream, run.benchmark.test_stream
    with strategy.evaluation_weights():
        if index:  # what follows the drift looks at these training images too
            train, test = (stream[index] for stream in streams)
            known = strategy.readouts.look_ahead(strategy, train)
            measured["before"].append(class_mean_accuracy(strategy, train, test, known))
        else:
            measured["untouched"] += _untouched(run, list(zip(*streams, strict=True))[1:])


def _untouched(run: Any, pairs: list[tuple[Any, Any]]) -> list[float]:
    """Give the untouched backbone's accuracies, in [0, 1], on all tasks but the first."""

    def measure() -> list[float]:
        return [class_mean_accuracy(run.strategy, *pair) for pair in pairs]

    # adapters start without an effect; prompts, in an encoder of their own, do not
    if run.digests.weights is None or run.strategy.model.encoder is not run.encoder:
        return measure()
    place = (run.stem_cache, run.strategy.precision, run.strategy.device.type)
    name = digest_of(repr((FORMAT, *run.digests, asked_size(run.settings), *place)).encode())
    path = cache_folder().parent / "untouched" / f"{name}.json"
    return kept_accuracies(path, len(pairs), measure)


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
