"""What every merge rule is: a value that starts a running merge of one tensor."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.errors import UnknownNameError

WEIGHTS_RULES = ("one", "mean")


class TensorMerger(Protocol):
    """The running merge of one matrix; its memory does not grow with what is added, but TALL's."""

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        """Take one more matrix ``(o, i)``, the ``index``-th to arrive, from 0."""

    def result(self, scale: float) -> Tensor:
        """Give the merge with every weight multiplied by ``scale > 0``."""


class MergeRule(Protocol):
    """A merge rule with its options: a value, whose repr goes to the record."""

    def start(self, place: str) -> TensorMerger:
        """Begin a merge; ``place`` names the matrix, for rules that draw numbers."""


def check_weights_rule(name: str) -> None:
    """Raise UnknownNameError unless the name is ``one`` (weights 1) or ``mean`` (1/n)."""
    if name not in WEIGHTS_RULES:
        raise UnknownNameError("weights_rule", name, WEIGHTS_RULES)


def aligned(state: Tensor | None, tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-pad the last two dimensions of both to the larger; no state is all zeros.

    Needed for factors of unequal rank: a missing row or column counts as zeros.
    """
    if state is None:
        return tensor.new_zeros(tensor.shape), tensor
    rows = max(state.shape[-2], tensor.shape[-2])
    columns = max(state.shape[-1], tensor.shape[-1])
    return _padded(state, rows, columns), _padded(tensor, rows, columns)


def _padded(tensor: Tensor, rows: int, columns: int) -> Tensor:
    missing = (0, columns - tensor.shape[-1], 0, rows - tensor.shape[-2])
    return F.pad(tensor, missing) if any(missing) else tensor
