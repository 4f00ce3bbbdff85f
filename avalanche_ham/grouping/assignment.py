"""Sec. 3.2.2, "Group Association": the group that a new adapter joins or opens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from avalanche_ham.errors import OptionError, check_range, check_whole

AssignmentRule = Callable[[Tensor], int | None]
"""Similarities to the groups ``(G,)`` -> index of a group, or None for a new one."""


def assign_by_similarity(similarities: Tensor, *, threshold: float, max_groups: int) -> int | None:
    """Join the most similar group, or open a new one (Sec. 3.2.2, text after Eq. 3).

    With ``j* = argmax_j sim_j``: join ``j*`` if ``sim_j* >= threshold``; else open a
    group while there are fewer than ``max_groups``; else join ``j*`` all the same. Of
    equally similar groups the oldest.

    Args:
        similarities: cosine similarity to each group, shape ``(G,)``; empty at first.
        threshold: smallest similarity that counts as alike, at least -1. Above 1
            nothing is alike, so the first ``max_groups`` adapters open a group each.
        max_groups: largest number of groups, at least 1.

    Raises:
        OptionError: if an argument is outside its range or shape.
    """
    check_range("threshold", threshold, -1, math.inf)
    _check(similarities, max_groups)
    if not len(similarities):
        return None
    best = int(similarities.argmax())
    alike = bool(similarities[best] >= threshold)
    return best if alike or len(similarities) >= max_groups else None


def assign_by_orthogonality(similarities: Tensor, *, max_groups: int) -> int | None:
    """Join the most nearly orthogonal group, once all are open (Sec. 4.3, Table 3).

    The paper names this rule but does not define it. Here the first ``max_groups``
    adapters open a group each; later ones join ``argmin_j |sim_j|``. Of equal groups
    the oldest.

    Args:
        similarities: cosine similarity to each group, shape ``(G,)``; empty at first.
        max_groups: largest number of groups, at least 1.

    Raises:
        OptionError: if an argument is outside its range or shape.
    """
    _check(similarities, max_groups)
    return int(similarities.abs().argmin()) if len(similarities) >= max_groups else None


@dataclass(frozen=True)
class Similarity:
    """``assign_by_similarity`` with its options; the paper gives no threshold.

    ``Similarity(threshold=2.0)`` opens all groups first: for Table 3 it differs from
    ``Orthogonality`` in nothing but which group is joined.
    """

    threshold: float = 0.5
    max_groups: int = 2

    def __post_init__(self) -> None:
        """Check the options now instead of after the first task."""
        self(torch.empty(0))

    def __call__(self, similarities: Tensor) -> int | None:
        """Choose a group."""
        return assign_by_similarity(
            similarities, threshold=self.threshold, max_groups=self.max_groups
        )


@dataclass(frozen=True)
class Orthogonality:
    """``assign_by_orthogonality`` with its option."""

    max_groups: int = 2

    def __post_init__(self) -> None:
        """Check the option now instead of after the first task."""
        self(torch.empty(0))

    def __call__(self, similarities: Tensor) -> int | None:
        """Choose a group."""
        return assign_by_orthogonality(similarities, max_groups=self.max_groups)


def _check(similarities: Tensor, max_groups: int) -> None:
    check_whole("max_groups", max_groups, 1)
    if similarities.dim() != 1:
        shape = tuple(similarities.shape)
        raise OptionError("similarities", "one-dimensional", shape)
