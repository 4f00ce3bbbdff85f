"""Sec. 3.3, Eq. 7: merge whole updates, layer by layer, in one of two spaces."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank, Update, dense, outer_shape
from avalanche_ham.adapters.slots import join_slots, split_slots
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

    The slots of a fused qkv are merged each alone, as the separate matrices that they are: a
    rule that keeps a fraction never counts the zeros between their blocks.

    Args:
        rule: how one matrix is merged, such as ``Linear()``.
        space: ``delta`` or ``factors``.
        slots: parts of a fused qkv that have factors of their own.

    Raises:
        UnknownNameError: if ``space`` is neither.
        OptionError: if the rule is none.
    """

    def __init__(
        self, rule: MergeRule, *, space: str = "delta", slots: Sequence[str] | None = None
    ) -> None:
        if space not in ("delta", "factors"):
            raise UnknownNameError("space", space, ("delta", "factors"))
        if isinstance(rule, type) or not callable(getattr(rule, "start", None)):
            raise OptionError("merge_rule", "a rule of avalanche_ham.merging, as Ties()", rule)
        self.rule, self.space, self.slots, self.count = rule, space, slots, 0
        self._shapes: dict[str, tuple[int, ...]] = {}  # layer -> (o, i)
        self._mergers: dict[str, list[list[TensorMerger]]] = {}  # slot by slot [B A] or [A, B]

    def add(self, update: Update, weight: float = 1.0) -> None:
        """Take one more update.

        Args:
            update: layer name -> change.
            weight: w in the rule's formula, any sign.

        Raises:
            OptionError: if a layer's shape is not what it was before, or a dense change
                is to be merged in factor space, or a change does not fit the slots. Nothing
                is added then.
        """
        shapes = {layer: self._shape(layer, change) for layer, change in update.items()}
        parts = {layer: split_slots(change, self.slots) for layer, change in update.items()}
        self._shapes.update(shapes)
        for layer, changes in parts.items():
            if layer not in self._mergers:
                self._mergers[layer] = self._start(layer)
            for mergers, change in zip(self._mergers[layer], changes, strict=True):
                self._add(mergers, change, weight)
        self.count += 1

    def _add(self, mergers: list[TensorMerger], change: LowRank | Tensor, weight: float) -> None:
        if self.space == "delta":
            mergers[0].add(dense(change).detach(), weight, self.count)
        elif isinstance(change, LowRank):
            root = math.sqrt(abs(weight))
            mergers[0].add(change.a.detach(), math.copysign(root, weight), self.count)
            mergers[1].add(change.b.detach(), root, self.count)

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
        return {
            layer: join_slots([self._merged(one, scale) for one in mergers], self.slots)
            for layer, mergers in self._mergers.items()
        }

    def _merged(self, mergers: list[TensorMerger], scale: float) -> LowRank | Tensor:
        if self.space == "delta":
            return mergers[0].result(scale)
        a, b = (merger.result(math.sqrt(scale)) for merger in mergers)
        return LowRank(a, b)

    def _start(self, layer: str) -> list[list[TensorMerger]]:
        names = [layer] if self.slots is None else [f"{layer}.{slot}" for slot in self.slots]
        matrices = ("",) if self.space == "delta" else (".a", ".b")
        return [[self.rule.start(name + matrix) for matrix in matrices] for name in names]

    def _shape(self, layer: str, change: LowRank | Tensor) -> tuple[int, ...]:
        if self.space == "factors" and not isinstance(change, LowRank):
            raise OptionError("space", f"'delta' as {layer} is dense", self.space)
        shape = outer_shape(change)
        known = self._shapes.get(layer, shape)
        if shape != known:
            raise OptionError(f"the change of {layer}", f"of shape {known}", shape)
        return shape


def merge(
    updates: Sequence[Update],
    rule: MergeRule,
    *,
    weights: Sequence[float] | None = None,
    normalise: str = "one",
    space: str = "delta",
    slots: Sequence[str] | None = None,
) -> dict[str, LowRank | Tensor]:
    """Merge a list of updates, see ``UpdateMerger`` (Sec. 3.3, Eq. 7).

    Args:
        updates: at least one.
        rule: how one matrix is merged.
        weights: one per update, all 1 by default; Eq. 7 gives group j its alpha_Gj.
        normalise: ``one``, or ``mean`` to divide each weight by the number of updates.
        space: ``delta`` or ``factors``.
        slots: parts of a fused qkv that have factors of their own, each merged alone.

    Raises:
        NoMatchError: if there is nothing to merge.
        OptionError: if the number of weights is not that of the updates.
    """
    weights = [1.0] * len(updates) if weights is None else weights
    if len(weights) != len(updates):
        raise OptionError("weights", f"{len(updates)} numbers", len(weights))
    merger = UpdateMerger(rule, space=space, slots=slots)
    for update, weight in zip(updates, weights):
        merger.add(update, weight)
    return merger.result(normalise)
