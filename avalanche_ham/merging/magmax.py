"""MagMax: in every entry the change of largest magnitude wins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avalanche_ham.merging.rule import aligned


def larger(winner: Tensor, newest: Tensor) -> Tensor:
    """Take in every entry the one of larger magnitude, of equal ones the newest; same shapes."""
    return torch.where(newest.abs() >= winner.abs(), newest, winner)


@dataclass(frozen=True)
class MagMax:
    """Maximum magnitude selection (Marczak et al. 2024, arXiv 2407.06322).

    Entry-wise the ``w_t v_t`` of largest magnitude; of equal ones the latest. The paper
    scales the result by 0.5, which is left to the caller, and merges the checkpoints of
    one model trained sequentially, each as its difference to the initial weights.
    """

    def start(self, place: str) -> _MagMaxMerger:
        """Begin a running maximum."""
        return _MagMaxMerger()


class _MagMaxMerger:
    def __init__(self) -> None:
        self.winner: Tensor | None = None

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        self.winner = larger(*aligned(self.winner, weight * tensor))

    def result(self, scale: float) -> Tensor:
        assert self.winner is not None
        return scale * self.winner
