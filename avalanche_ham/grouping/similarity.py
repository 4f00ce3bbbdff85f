"""Sec. 3.2.2, "Group Association": how alike two adapters are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank, Update, dense
from avalanche_ham.errors import UnknownNameError
from avalanche_ham.precision import in_float64


def cosine_similarity(x: LowRank | Tensor, y: LowRank | Tensor) -> float:
    """Give the cosine similarity of two changes of one layer (Sec. 3.2.2, Eq. 3).

    ``<vec(X), vec(Y)> / (|X| |Y|)`` with Frobenius norms, where a low-rank change
    stands for its product ``B A``. Computed in float64. Low-rank pairs are never
    multiplied out: ``<B A, B' A'> = sum((B^T B') * (A A'^T))``.

    A change that is exactly zero has no direction; its similarity to anything is 0.

    Args:
        x: low-rank, or dense of shape ``(o, i)``.
        y: the same; ranks may differ.

    Returns:
        A number in [-1, 1].
    """
    x, y = _in_float64(x), _in_float64(y)
    norms = (_inner(x, x) * _inner(y, y)).sqrt()
    if norms == 0:
        return 0.0
    return float((_inner(x, y) / norms).clamp(-1, 1))


def similarities(update: Update, groups: Sequence[Update], layer: str) -> Tensor:
    """Compare a new update with each group's at one layer (Sec. 3.2.2, Eq. 3).

    Args:
        update: the new adapter; the paper compares it before pruning.
        groups: the groups' updates, G of them, possibly none.
        layer: where to compare; the paper takes the last adapted layer.

    Returns:
        Cosine similarities in float64 on the CPU, shape ``(G,)``.

    Raises:
        UnknownNameError: if the update or a group does not change ``layer``.
    """
    for one in (update, *groups):
        if layer not in one:
            raise UnknownNameError("layer", layer, one)
    cosines = [cosine_similarity(update[layer], group[layer]) for group in groups]
    return torch.tensor(cosines, dtype=torch.float64)


def _in_float64(change: LowRank | Tensor) -> LowRank | Tensor:
    if isinstance(change, LowRank):
        return LowRank(in_float64(change.a.detach()), in_float64(change.b.detach()))
    return in_float64(change.detach())


def _inner(x: LowRank | Tensor, y: LowRank | Tensor) -> Tensor:
    if isinstance(x, LowRank) and isinstance(y, LowRank):
        return ((x.b.T @ y.b) * (x.a @ y.a.T)).sum()  # (r, r')
    return (dense(x) * dense(y)).sum()
