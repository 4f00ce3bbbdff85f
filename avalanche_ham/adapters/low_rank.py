"""Low-rank updates of linear layers (Sec. 3.1, Eq. 1): the currency of every method here.

Shapes throughout the package: N batch, L tokens, i inputs, o outputs, r rank, T tasks,
G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class LowRank(NamedTuple):
    """Factors of a weight change ``B A``: ``a`` of shape ``(r, i)``, ``b`` of shape ``(o, r)``."""

    a: Tensor
    b: Tensor

    @property
    def rank(self) -> int:
        """The number of rows of ``a``."""
        return self.a.shape[0]

    def dense(self) -> Tensor:
        """Multiply the factors: the weight change ``B A`` of shape ``(o, i)`` (Eq. 1)."""
        return self.b @ self.a

    def detached(self) -> LowRank:
        """Copy both factors, cut from the graph."""
        return LowRank(self.a.detach().clone(), self.b.detach().clone())


Update = Mapping[str, LowRank | Tensor]
"""Layer name -> low-rank or dense change of that layer's weight."""


def dense(change: LowRank | Tensor) -> Tensor:
    """Give a layer's change as a dense tensor of shape ``(o, i)``."""
    return change.dense() if isinstance(change, LowRank) else change


def outer_shape(change: LowRank | Tensor) -> tuple[int, ...]:
    """Give the shape ``(o, i)`` of a change without multiplying its factors."""
    if isinstance(change, LowRank):
        return (change.b.shape[0], change.a.shape[1])
    return tuple(change.shape)


def nothing(weight: Tensor) -> LowRank:
    """Make the update of rank 0 that leaves a weight ``(o, i)`` as it is."""
    outputs, inputs = weight.shape
    return LowRank(weight.new_zeros(0, inputs), weight.new_zeros(outputs, 0))


def moved(tree: Any, place: torch.device | Tensor) -> Any:
    """Move the tensors of a nested dict of updates or tensors; what else stands there stays.

    Args:
        tree: such as a strategy's ``memory``.
        place: a device, or a tensor, whose precision is taken too.
    """
    if isinstance(tree, dict):
        return {name: moved(node, place) for name, node in tree.items()}
    if isinstance(tree, LowRank):
        return LowRank(tree.a.to(place), tree.b.to(place))
    return tree.to(place) if isinstance(tree, Tensor) else tree


def interpolated(
    start: Mapping[str, LowRank], end: Mapping[str, LowRank], share: float
) -> dict[str, LowRank]:
    """Go a share of the way from one update to another, factor by factor.

    Args:
        start: layer name -> factors.
        end: likewise, of the same shapes; its layers are those of the result.
        share: in [0, 1]; 1 gives ``end``.
    """
    return {
        name: LowRank(*(torch.lerp(s, e, share) for s, e in zip(start[name], pair, strict=True)))
        for name, pair in end.items()
    }


def scaled(update: Update, factor: float) -> dict[str, LowRank | Tensor]:
    """Multiply an update by a number; of factors, B takes it."""
    found: dict[str, LowRank | Tensor] = {}
    for name, change in update.items():
        if isinstance(change, LowRank):
            found[name] = change._replace(b=factor * change.b)
        else:
            found[name] = factor * change
    return found


def concatenate(parts: Sequence[LowRank]) -> LowRank:
    """Stack factors so that the product is the sum of the parts' products (Eq. 6).

    Args:
        parts: low-rank changes of one layer; ranks may differ.
    """
    return LowRank(torch.cat([p.a for p in parts]), torch.cat([p.b for p in parts], dim=1))


def sum_updates(updates: Sequence[Update]) -> dict[str, Tensor]:
    """Add updates layer by layer, in the order given, as dense tensors ``(o, i)``.

    A layer that only some of the updates change keeps what those say.
    """
    total: dict[str, Tensor] = {}
    for update in updates:
        for name, change in update.items():
            delta = dense(change)
            total[name] = total[name] + delta if name in total else delta.clone()
    return total
