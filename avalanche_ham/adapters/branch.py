"""The trainable low-rank branch of an adapted linear layer (Sec. 3.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.adapters.slots import SLOTS
from avalanche_ham.errors import OptionError, check_sequence, check_whole
from avalanche_ham.seeding import preserved


class LowRankBranch(nn.Module):
    """Trainable factors ``A`` (input side) and ``B`` (output side); starts as the zero update.

    ``A ~ U(-1/sqrt(i), 1/sqrt(i))`` (the Kaiming rule of LoRA) and ``B = 0``.

    Args:
        in_features: inputs i of the layer.
        out_features: outputs o of the layer.
        rank: rank r, from 1 to ``min(i, o)``.
        slots: parts of a fused qkv that get a factor pair of their own, such as
            ``("q", "v")``; None adapts all o rows with one pair.
        shared_input: the slots share one ``A`` (InfLoRA's k and v).
        train_input: whether ``A`` is trained.

    Raises:
        OptionError: if the rank does not fit the layer or a slot is unknown.
    """

    foldable = True  # its effect is a change of the weight

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        *,
        slots: Sequence[str] | None = None,
        shared_input: bool = False,
        train_input: bool = True,
    ) -> None:
        super().__init__()
        if slots is not None:
            named = set(map(str, check_sequence("slots", slots)))
            if not slots or not named <= set(SLOTS) or len(named) < len(slots):
                raise OptionError("slots", "some of q, k, v, each once", slots)
            if out_features != len(SLOTS) * in_features:
                sizes = f"{in_features} inputs and {out_features} outputs"
                allowed = f"None where a layer has {sizes}, no fused qkv"
                raise OptionError("slots", allowed, slots)
        limit = min(in_features, out_features)
        check_whole("rank", rank)
        if not 1 <= rank <= limit:
            raise OptionError("rank", f"between 1 and {limit}, the layer's size", rank)
        self.slots = None if slots is None else tuple(slots)
        self.shared_input = shared_input
        pairs = 1 if slots is None else len(slots)
        height = out_features if slots is None else out_features // len(SLOTS)
        inputs = 1 if shared_input else pairs
        bound = in_features**-0.5
        self.a = nn.Parameter(torch.empty(inputs * rank, in_features))
        nn.init.uniform_(self.a, -bound, bound)
        self.a.requires_grad_(train_input)
        self.b = nn.Parameter(torch.zeros(pairs, height, rank))

    def factors(self) -> LowRank:
        """Give the differentiable factors ``a (R, i)`` and ``b (o, R)``.

        R is the rank, times the number of slots unless they share their input factor;
        each slot's ``B`` stands in its own rows and columns, zero elsewhere.
        """
        if self.slots is None:
            return LowRank(self.a, self.b[0])
        _pairs, height, rank = self.b.shape
        wide = self.a.shape[0]
        rows = []
        for slot in SLOTS:
            if slot not in self.slots:
                rows.append(self.b.new_zeros(height, wide))
                continue
            k = self.slots.index(slot)
            left = 0 if self.shared_input else k * rank
            rows.append(F.pad(self.b[k], (left, wide - rank - left)))
        return LowRank(self.a, torch.cat(rows))

    def misfit(self, change: LowRank | Tensor) -> str | None:
        """Say what a change must be to be assigned, None if it fits: as ``factors`` gives it."""
        with torch.no_grad():
            a, b = self.factors()
        if not isinstance(change, LowRank) or (change.a.shape, change.b.shape) != (
            a.shape,
            b.shape,
        ):
            return f"factors of shapes {tuple(a.shape)} and {tuple(b.shape)}"
        outside = torch.ones_like(b, dtype=torch.bool)
        for rows, columns in self._places():
            outside[rows, columns] = False
        if change.b[outside.to(change.b.device)].any():
            return f"zero outside the blocks of its slots {self.slots}"
        return None

    @torch.no_grad()
    def assign(self, change: LowRank) -> None:
        """Copy the values of a change that fits into the parameters, which stay the same ones."""
        self.a.copy_(change.a)
        for part, (rows, columns) in zip(self.b, self._places(), strict=True):
            part.copy_(change.b[rows, columns])

    def _places(self) -> list[tuple[slice, slice]]:
        """Give the rows and columns of each slot's ``B`` within ``factors().b``."""
        pairs, height, rank = self.b.shape
        if self.slots is None:
            return [(slice(0, height), slice(0, rank))]
        tops = [SLOTS.index(slot) * height for slot in self.slots]
        lefts = [0 if self.shared_input else k * rank for k in range(pairs)]
        return [
            (slice(top, top + height), slice(left, left + rank))
            for top, left in zip(tops, lefts, strict=True)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Apply ``B A`` to inputs ``(..., i)``; gives ``(..., o)``."""
        a, b = self.factors()
        return F.linear(F.linear(x, a), b)


def is_foldable(branch: nn.Module) -> bool:
    """Tell whether a branch is a change of the weight.

    Such a branch says ``foldable = True`` and has ``factors()``. Any other, whose output depends
    on the token (a router), is only ever called, beside the weight.
    """
    return bool(getattr(branch, "foldable", False))


BranchMaker = Callable[[str, nn.Linear], nn.Module]


def low_rank_branches(
    rank: int,
    *,
    slots: Sequence[str] | None = None,
    shared_input: bool = False,
    train_input: bool = True,
) -> BranchMaker:
    """Make a function (layer name, layer) -> fresh ``LowRankBranch`` on the layer's device."""
    return partial(  # a closure could not be pickled
        _low_rank_branch,
        rank=rank,
        slots=slots,
        shared_input=shared_input,
        train_input=train_input,
    )


def check_branches(layers: Mapping[str, nn.Linear], make_branch: BranchMaker) -> None:
    """Make a branch for every layer and forget it; says now, not in mid-training, if one fails.

    Raises:
        OptionError: if the branch does not fit.
    """
    with preserved():
        for name, layer in layers.items():
            make_branch(name, layer)


def _low_rank_branch(name: str, layer: nn.Linear, *, rank: int, **options: Any) -> nn.Module:
    branch = LowRankBranch(layer.in_features, layer.out_features, rank, **options)
    return branch.to(layer.weight.device, layer.weight.dtype)
