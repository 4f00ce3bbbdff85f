"""What survives a task: a nested dict or list of tensors, low-rank pairs, numbers, strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EXEMPLARS = "exemplars"  # key in a strategy's ``memory``: an archive of ``images`` and ``targets``


@dataclass
class Written:
    """What is known of an item's file: its digest, empty until the item has been written."""

    digest: str = ""


class Archive(list):
    """A list that only grows and whose items never change: each is written to disk once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._written: list[Written] = []

    def written(self) -> list[Written]:
        """Give what is known of the file of each item, in the items' order."""
        self._written += [Written() for _ in range(len(self) - len(self._written))]
        return self._written

    def copied(self) -> Archive:
        """Give an archive of the same items that grows by itself.

        What either writes of the common items the other need not write again.
        """
        again = Archive(self)
        again._written = list(self.written())
        return again


def count_stored(tree: Any) -> int:
    """Count the non-zero floating-point entries of a tree: what a method has to keep."""
    if isinstance(tree, Tensor):
        return int(torch.count_nonzero(tree)) if tree.is_floating_point() else 0
    if isinstance(tree, dict):
        return sum(count_stored(v) for v in tree.values())
    if isinstance(tree, (list, tuple)):
        return sum(count_stored(v) for v in tree)
    return 0


def image_bytes(memory: dict[str, Any]) -> int:
    """Give the size of the images that a strategy's ``memory`` keeps."""
    images = [part["images"] for part in memory.get(EXEMPLARS, [])]
    return sum(kept.numel() * kept.element_size() for kept in images)
