"""TIES: trim, elect a sign for every entry, average what agrees with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from avalanche_ham.errors import UnknownNameError, check_range
from avalanche_ham.magnitude import largest
from avalanche_ham.merging.rule import aligned


def survivors(tensors: Sequence[Tensor], rule: Ties) -> list[Tensor]:
    """Give what of each tensor enters the disjoint mean: steps 1 and 2, the rest is 0.

    Args:
        tensors: v_t, of one shape.
        rule: says how many entries survive the trim, and how signs are elected.
    """
    trimmed = [largest(tensor, int(rule.density * tensor.numel())) for tensor in tensors]
    ballots = trimmed if rule.majority == "total" else [tensor.sign() for tensor in trimmed]
    positive = torch.stack(ballots).sum(0) >= 0
    return [tensor.masked_fill((tensor > 0) != positive, 0) for tensor in trimmed]


@dataclass(frozen=True)
class Ties:
    """TIES-Merging (Yadav et al. 2023, arXiv 2306.01708, Sec. 4.2, Algorithm 1).

    1. trim: keep the ``int(density * numel)`` largest entries of each tensor, ``v_t``;
    2. elect: ``s = sign(sum_t v_t)``, with ``sign(0) = +1``, without the weights;
    3. disjoint mean: sum ``w_t v_t`` over the t whose sign is s, and divide by how many
       there are, or by 1 where there are none.

    As in peft, and unlike the paper, each matrix is trimmed alone. peft silently falls
    back to linear for a single adapter; here a single tensor is trimmed like any other.

    Args:
        density: fraction of each tensor that survives the trim, in [0, 1].
        majority: elects by the sum of the entries (total) or by their signs (frequency).

    Raises:
        OptionError: if ``density`` is outside [0, 1].
        UnknownNameError: if ``majority`` is neither.
    """

    density: float = 0.2
    majority: Literal["total", "frequency"] = "total"

    def __post_init__(self) -> None:
        """Check the options."""
        check_range("density", self.density, 0, 1)
        if self.majority not in ("total", "frequency"):
            raise UnknownNameError("majority", self.majority, ("total", "frequency"))

    def start(self, place: str) -> _TiesMerger:
        """Begin an election."""
        return _TiesMerger(self)


class _TiesMerger:
    """Steps 2 and 3 need only sums and counts of positive and negative entries."""

    def __init__(self, rule: Ties) -> None:
        self.rule = rule
        self.votes: Tensor | None = None  # (o, i)
        self.sums: Tensor | None = None  # (2, o, i): of positive, of negative entries
        self.counts: Tensor | None = None  # (2, o, i)

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        """Trim one more matrix ``(o, i)`` and count its votes."""
        trimmed = largest(tensor, int(self.rule.density * tensor.numel()))
        ballot = trimmed if self.rule.majority == "total" else trimmed.sign()
        signs = torch.stack((trimmed > 0, trimmed < 0)).to(tensor.dtype)
        self.votes = torch.add(*aligned(self.votes, ballot))
        self.sums = torch.add(*aligned(self.sums, weight * trimmed * signs))
        self.counts = torch.add(*aligned(self.counts, signs))

    def result(self, scale: float) -> Tensor:
        """Give the mean of the entries that agree with the elected signs."""
        assert self.votes is not None
        assert self.sums is not None
        assert self.counts is not None
        positive = self.votes >= 0
        total = torch.where(positive, self.sums[0], self.sums[1])
        count = torch.where(positive, self.counts[0], self.counts[1])
        return scale * total / count.clamp(min=1)
