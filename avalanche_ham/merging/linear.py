"""Linear merging: HAM's own final merge, and the first merging baseline."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from avalanche_ham.merging.rule import aligned


@dataclass(frozen=True)
class Linear:
    """Weighted sum ``sum_t w_t v_t`` (task arithmetic, arXiv 2212.04089, Sec. 2).

    Equals peft's ``linear`` in factor space.
    """

    def start(self, place: str) -> _LinearMerger:
        """Begin a sum."""
        return _LinearMerger()


class _LinearMerger:
    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        total, tensor = aligned(self.total, tensor)
        self.total = total + weight * tensor

    def result(self, scale: float) -> Tensor:
        assert self.total is not None
        return scale * self.total
