"""Sec. 3.3, Eq. 7: merge whole updates, layer by layer, in one of two spaces."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank, Update, dense
from avalanche_ham.errors import NoMatchError, OptionError, UnknownNameError
from avalanche_ham.merging.rule import MergeRule, TensorMerger


class UpdateMerger:
    """A running merge: add updates one by one and ask for the result at any time.

    ``space="delta"`` merges the dense changes ``B A``: exact, ranks may differ, dense
    result.

    ``space="factors"`` merges A and B apart, as peft's ``add_weighted_adapter`` does:
    weight w enters as ``sqrt(|w|)`` on both, its sign on A. The result is low-rank.
    This is not the sum of the products: ``(sum_t B_t)(sum_t A_t)`` has cross terms
    ``B_t A_u``. Where peft refuses unequal ranks, missing rows of A and columns of B
    count as zeros, after any trimming.

    A layer that only some updates change merges what those say.

    Args:
        rule: how one matrix is merged, such as ``Linear()``.
        space: ``delta`` or ``factors``.

    Raises:
        UnknownNameError: if ``space`` is neither.
    """

    def __init__(self, rule: MergeRule, *, space: str = "delta") -> None:
        if space not in ("delta", "factors"):
            raise UnknownNameError("space", space, ("delta", "factors"))
        self.rule, self.space, self.count = rule, space, 0
        self._shapes: dict[str, tuple[int, int]] = {}  # layer -> (o, i)
        self._mergers: dict[str, list[TensorMerger]] = {}  # layer -> [B A] or [A, B]

    def add(self, update: Update, weight: float = 1.0) -> None:
        """Take one more update.

        Args:
            update: layer name -> change.
            weight: w in the rule's formula, any sign.

        Raises:
            OptionError: if a layer's shape is not what it was before, or a dense change
                is to be merged in factor space.
        """
        for layer, change in update.items():
            self._check(layer, change)  # all before any is added
        for layer, change in update.items():
            mergers = self._mergers.setdefault(layer, self._start(layer))
            if self.space == "delta":
                mergers[0].add(dense(change).detach(), weight, self.count)
            elif isinstance(change, LowRank):
                root = math.sqrt(abs(weight))
                signed = math.copysign(root, weight)
                mergers[0].add(change.a.detach(), signed, self.count)
                mergers[1].add(change.b.detach(), root, self.count)
        self.count += 1

    def result(self, weights: str = "one") -> dict[str, LowRank | Tensor]:
        """Merge what was added so far; more may be added afterwards.

        Args:
            weights: ``one`` takes the weights as given, ``mean`` divides each by the
                number of updates.

        Raises:
            NoMatchError: if nothing was added.
            UnknownNameError: if ``weights`` is neither.
        """
        if weights not in ("one", "mean"):
            raise UnknownNameError("weights", weights, ("one", "mean"))
        if not self._mergers:
            raise NoMatchError("there is nothing to merge: no update changes a layer")
        scale = 1.0 if weights == "one" else 1.0 / self.count
        if self.space == "delta":
            return {layer: one.result(scale) for layer, (one,) in self._mergers.items()}
        root = math.sqrt(scale)
        return {
            layer: LowRank(a.result(root), b.result(root))
            for layer, (a, b) in self._mergers.items()
        }

    def _start(self, layer: str) -> list[TensorMerger]:
        places = (layer,) if self.space == "delta" else (f"{layer}.a", f"{layer}.b")
        return [self.rule.start(place) for place in places]

    def _check(self, layer: str, change: LowRank | Tensor) -> None:
        if isinstance(change, LowRank):
            shape = (change.b.shape[0], change.a.shape[1])
        elif self.space == "factors":
            raise OptionError("space", f"'delta' as {layer} is dense", self.space)
        else:
            shape = (change.shape[0], change.shape[1])
        known = self._shapes.setdefault(layer, shape)
        if shape != known:
            raise OptionError(f"the change of {layer}", f"of shape {known}", shape)


def merge(
    updates: Sequence[Update],
    rule: MergeRule,
    *,
    weights: Sequence[float] | None = None,
    normalise: str = "one",
    space: str = "delta",
) -> dict[str, LowRank | Tensor]:
    """Merge a list of updates, see ``UpdateMerger`` (Sec. 3.3, Eq. 7).

    Args:
        updates: at least one.
        rule: how one matrix is merged.
        weights: one per update, all 1 by default; Eq. 7 gives group j its alpha_Gj.
        normalise: ``one``, or ``mean`` to divide each weight by the number of updates.
        space: ``delta`` or ``factors``.

    Raises:
        NoMatchError: if there is nothing to merge.
        OptionError: if the number of weights is not that of the updates.
    """
    weights = [1.0] * len(updates) if weights is None else weights
    if len(weights) != len(updates):
        raise OptionError("weights", f"{len(updates)} numbers", len(weights))
    merger = UpdateMerger(rule, space=space)
    for update, weight in zip(updates, weights):
        merger.add(update, weight)
    return merger.result(normalise)
