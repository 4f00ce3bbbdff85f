"""Sec. 3.2.2: what becomes of an adapter that joins a group: pruned, and its scalar averaged.

Its matrices are concatenated (Eq. 6) by ``adapters.concatenate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank, Update
from avalanche_ham.adapters.slots import join_slots, split_slots
from avalanche_ham.errors import check_range
from avalanche_ham.magnitude import keep_largest

Scalar = TypeVar("Scalar", float, Tensor)


def prune_update(
    update: Update, keep: float, slots: Sequence[str] | None = None
) -> dict[str, LowRank | Tensor]:
    """Prune each matrix of an update with its own threshold (Sec. 3.2.2, Eq. 5).

    A low-rank change has two matrices, A and B; a dense change has one. Each slot of a fused
    qkv has its own: the zeros that only stand between the slots' blocks are never counted.

    Args:
        update: layer name -> change.
        keep: the fraction of each matrix that survives, in [0, 1].
        slots: parts of a fused qkv that have factors of their own.

    Raises:
        OptionError: if ``keep`` is outside [0, 1], or a change does not fit the slots.
    """
    return {
        name: join_slots([_pruned(part, keep) for part in split_slots(change, slots)], slots)
        for name, change in update.items()
    }


def _pruned(change: LowRank | Tensor, keep: float) -> LowRank | Tensor:
    if isinstance(change, LowRank):
        return LowRank(keep_largest(change.a, keep), keep_largest(change.b, keep))
    return keep_largest(change, keep)


def running_mean(alpha_group: Scalar, members: int, alpha_new: Scalar) -> Scalar:
    """Average a group's scalar with a new member's (Sec. 3.2.2, Eq. 4).

    ``alpha_G <- (n_G * alpha_G + alpha_t) / (n_G + 1)``. Every task trains ``alpha_G``,
    so this is the plain mean of the members' scalars only if no task moved it in
    between.

    Args:
        alpha_group: the group's scalar after the task was trained.
        members: how many adapters the group holds so far, n_G, at least 1; a new group
            takes the scalar of its first member as it is.
        alpha_new: the scalar of the adapter that joins.

    Raises:
        OptionError: if ``members < 1``.
    """
    check_range("members", members, 1, math.inf)
    return (members * alpha_group + alpha_new) / (members + 1)
