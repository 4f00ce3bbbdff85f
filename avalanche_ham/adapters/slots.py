"""The slots q, k and v of a fused qkv: one wide change, or a change for each slot.

A wide change holds nothing but zeros outside the blocks of its slots. Whatever ranks or draws
entries (pruning, merging) takes the slots apart first: each matrix counts as the paper's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import OptionError

SLOTS = ("q", "k", "v")  # row blocks of timm's fused ``attn.qkv``, in this order


def rows_of(change: LowRank | Tensor, slot: str) -> LowRank | Tensor:
    """Cut the rows of q, k or v, a third of all, out of the change of a fused qkv."""
    place = SLOTS.index(slot)
    if isinstance(change, LowRank):
        return LowRank(change.a, change.b.chunk(len(SLOTS))[place])
    return change.chunk(len(SLOTS))[place]


def split_slots(change: LowRank | Tensor, slots: Sequence[str] | None) -> list[LowRank | Tensor]:
    """Take a wide change apart, into one of ``(o/3, i)`` for each slot.

    Args:
        change: dense, or factors as ``LowRankBranch`` gives them, where slots do not share
            their input factor: equally many columns for each slot, in the order of ``slots``.
        slots: None gives the change itself alone.

    Raises:
        OptionError: if the change is anything but zero outside the blocks of its slots.
    """
    if slots is None:
        return [change]
    columns: Sequence[LowRank | Tensor] = [change] * len(slots)
    if isinstance(change, LowRank):
        if change.rank % len(slots):
            raise OptionError("the rank of a change", f"a multiple of {len(slots)}", change.rank)
        pairs = zip(change.a.chunk(len(slots)), change.b.chunk(len(slots), dim=1), strict=True)
        columns = [LowRank(a, b) for a, b in pairs]
    parts = [rows_of(part, slot) for part, slot in zip(columns, slots, strict=True)]
    left = _filled(change) - sum(_filled(part) for part in parts)
    if left:
        allowed = f"zero outside the blocks of its slots {tuple(slots)}"
        raise OptionError("the change", allowed, f"{left} other entries")
    return parts


def join_slots(parts: Sequence[LowRank | Tensor], slots: Sequence[str] | None) -> LowRank | Tensor:
    """Put what ``split_slots`` gave together again; ranks may differ from slot to slot."""
    if slots is None:
        return parts[0]
    pairs = [part for part in parts if isinstance(part, LowRank)]
    if len(pairs) < len(parts):
        return _placed([part for part in parts if isinstance(part, Tensor)], slots)
    blocks = [_placed([pair.b], [slot]) for pair, slot in zip(pairs, slots, strict=True)]
    return LowRank(torch.cat([pair.a for pair in pairs]), torch.cat(blocks, dim=1))


def each_matrix(
    function: Callable[..., Tensor], changes: Sequence[LowRank], slots: Sequence[str] | None
) -> LowRank:
    """Apply a function to the A of several changes and to their B, slot by slot.

    Args:
        function: place (``"a"``, or ``"q.b"`` where there are slots), a matrix of each change
            -> one matrix.
        changes: of one layer, of equal ranks.
        slots: as in ``split_slots``.
    """
    pairs = []
    for slot, same in zip(slots or [""], zip(*(split_slots(c, slots) for c in changes))):
        name = f"{slot}." if slot else ""
        pairs.append(LowRank(*(function(name + f, *m) for f, m in zip("ab", zip(*same)))))
    joined = join_slots(pairs, slots)
    assert isinstance(joined, LowRank)
    return joined


def _filled(change: LowRank | Tensor) -> int:
    """Count what is not zero in rows: of B, or of a dense change."""
    return int(torch.count_nonzero(change.b if isinstance(change, LowRank) else change))


def _placed(parts: Sequence[Tensor], slots: Sequence[str]) -> Tensor:
    """Stack rows, zeros where a slot has none."""
    mine = dict(zip(slots, parts, strict=True))
    return torch.cat([mine.get(slot, torch.zeros_like(parts[0])) for slot in SLOTS])
