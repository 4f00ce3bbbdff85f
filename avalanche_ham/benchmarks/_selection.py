"""Which images of each class are used: all, a seeded subset, or held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from avalanche_ham.benchmarks._image_digests import digest_of
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, OptionError, check_range, check_whole
from avalanche_ham.seeding import generator

__all__ = ["Selection", "select_images"]


class Selection(NamedTuple):
    """An image set and, for each class id, the positions of the images used."""

    images: Any  # an ImageSet, or several as one (``mixed``)
    rows: list[list[int]]

    def of_classes(self, labels: Sequence[int]) -> Selection:
        """Leave out the images of all other classes."""
        kept = set(labels)
        return self._replace(rows=[r if c in kept else [] for c, r in enumerate(self.rows)])

    def digest(self) -> str:
        """Tell these images from others: their shape, classes and contents, by class."""
        found = [
            (name, [self.images.digest(row) for row in sorted(rows)])
            for name, rows in zip(self.images.classes, self.rows)
        ]
        return digest_of(repr((self.images.image_shape, found)).encode())


def select_images(
    train: ImageSet,
    test: ImageSet,
    *,
    seed: int,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    holdout: float = 0.0,
) -> dict[str, Selection]:
    """Choose the images of the streams ``train`` and ``test``.

    Arguments and errors are those of ``class_incremental``.
    """
    for option, limit in {
        "train_per_class": train_per_class,
        "test_per_class": test_per_class,
    }.items():
        if limit is not None:
            check_whole(option, limit, 1)
    check_range("holdout", holdout, 0, 1, open_high=True)
    trained = _shuffled_rows(train, seed, "train")
    if holdout:
        kept = [_split(rows, holdout) for rows in trained]
        trained, tested = [rows for rows, _ in kept], [rows for _, rows in kept]
    else:
        tested = _shuffled_rows(test, seed, "test")
    return {
        "train": Selection(train, [rows[:train_per_class] for rows in trained]),
        "test": Selection(train if holdout else test, [rows[:test_per_class] for rows in tested]),
    }


def _shuffled_rows(images: ImageSet, seed: int, part: str) -> list[list[int]]:
    """Give the positions of each class's images, each class in an order of its own."""
    found: list[list[int]] = [[] for _ in images.classes]
    for row, target in enumerate(images.targets):
        found[target].append(row)
    for name, rows in zip(images.classes, found):
        if not rows:
            raise DataError(f"the class {name} has no {part} images")
    return [_shuffled(rows, seed, part, name) for name, rows in zip(images.classes, found)]


def _shuffled(rows: list[int], seed: int, part: str, name: str) -> list[int]:
    order = torch.randperm(len(rows), generator=generator(seed, part, name))
    return [rows[position] for position in order.tolist()]


def _split(rows: list[int], holdout: float) -> tuple[list[int], list[int]]:
    """Cut off the held-out end, at least one image; at least one stays to train on."""
    held = max(1, round(holdout * len(rows)))
    if held == len(rows):
        allowed = "small enough to leave every class an image to train on"
        raise OptionError("holdout", allowed, holdout)
    return rows[:-held], rows[-held:]
