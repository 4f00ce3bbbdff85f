"""The 1,797 handwritten digits of scikit-learn (8 x 8, grey): no download."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits

from avalanche_ham.benchmarks.class_incremental import (
    Benchmark,
    Split,
    class_incremental,
)
from avalanche_ham.benchmarks.image_set import ImageSet

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["digits"]

WHITE = 16  # the largest grey value of the original images
TEST_EVERY = 4  # one image in so many of each class is a test image


def digits(*, data_root: str | PathLike[str] | None = None, **split: Unpack[Split]) -> Benchmark:
    """Split the ten digits into tasks; one image in four of each class is a test image.

    Args:
        data_root: not used; here so that all benchmarks are called alike.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        OptionError: as ``class_incremental``.
    """
    source = load_digits()
    grey = np.rint(source.images * (255 / WHITE)).astype(np.uint8)  # (n, 8, 8)
    images = np.repeat(grey[:, None], 3, axis=1)  # (n, 3, 8, 8)
    is_test = _every_nth(source.target, TEST_EVERY)
    train, test = (
        ImageSet(
            images[part],
            targets=source.target[part].tolist(),
            classes=[str(digit) for digit in range(10)],
        )
        for part in (~is_test, is_test)
    )
    return class_incremental(train, test, name="digits", **split)


def _every_nth(targets: np.ndarray, n: int) -> np.ndarray:
    """Mark every n-th image of each class: a mask of the shape of ``targets``."""
    marked = np.zeros(len(targets), dtype=bool)
    last = n - 1
    for label in np.unique(targets):
        marked[np.flatnonzero(targets == label)[last::n]] = True
    return marked
