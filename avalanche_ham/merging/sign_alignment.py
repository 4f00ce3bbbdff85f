"""PAM: while a task trains, its factors keep the signs of what is important to earlier tasks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avalanche_ham.errors import UnknownNameError, check_range
from avalanche_ham.magnitude import keep_largest

RESTARTS = ("global", "zero")


def misaligned(matrix: Tensor, reference: Tensor, share: float = 1.0) -> Tensor:
    """Mark the entries whose sign is not that of an important entry of the reference (PAM, Sec. 4).

    Important are the ``share`` of the reference of largest magnitude; 0 agrees with any sign.

    Args:
        matrix: M, one of the factors that train.
        reference: M_g, the same factor of the global LoRA.
        share: p, in [0, 1].
    """
    return matrix.sign() * keep_largest(reference, share).sign() < 0


def realigned(matrix: Tensor, reference: Tensor, share: float, restart: str) -> Tensor:
    """Start misaligned entries again: from the reference's (``global``) or from ``zero``.

    Args:
        matrix, reference, share: as in ``misaligned``.
        restart: one of ``RESTARTS``.
    """
    again = reference if restart == "global" else torch.zeros_like(reference)
    return torch.where(misaligned(matrix, reference, share), again, matrix)


@dataclass(frozen=True)
class SignAlignment:
    """When and how factors are aligned with the global ones (PAM, arXiv 2506.03189, Sec. 4).

    Args:
        share: p, the fraction of each matrix that is important, in [0, 1].
        every: S, optimiser steps between two alignments, at least 1; fewer on short tasks.
        times: fewest alignments in a task, at least 1; S shrinks until there are so many. None
            follows the last step: what is aligned there goes into the merge untrained.
        restart: what a misaligned entry is set to, one of ``global`` (its value in the global
            LoRA) or ``zero``.
        last: align once more just before the merge.

    Raises:
        OptionError, UnknownNameError: if an argument is outside its range.
    """

    share: float = 0.5
    every: int = 100
    times: int = 10
    restart: str = "global"
    last: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_range("align_share", self.share, 0.0, 1.0)
        check_range("align_every", self.every, 1, float("inf"))
        check_range("align_times", self.times, 1, float("inf"))
        if self.restart not in RESTARTS:
            raise UnknownNameError("align_restart", self.restart, RESTARTS)

    def is_due(self, step: int, total_steps: int) -> bool:
        """Tell whether an alignment follows optimiser step ``step`` of ``total_steps``, from 1."""
        every = min(self.every, max(1, total_steps // (self.times + 1)))
        return step % every == 0 and step < total_steps

    def __call__(self, matrix: Tensor, reference: Tensor) -> Tensor:
        """Give one factor, aligned with the global one, see ``realigned``."""
        return realigned(matrix, reference, self.share, self.restart)


ALIGNMENTS = {"align": SignAlignment}  # as rows of METHODS name it
