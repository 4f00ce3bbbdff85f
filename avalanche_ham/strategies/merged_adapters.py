"""One adapter per task, trained alone from the frozen backbone, merged at evaluation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from avalanche_ham.adapters import Update, low_rank_branches
from avalanche_ham.adapters.branch import check_branches
from avalanche_ham.adapters.low_rank import moved
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.merging import Linear, MergeRule, UpdateMerger, damped_weight
from avalanche_ham.merging.rule import check_weights_rule
from avalanche_ham.state import Archive
from avalanche_ham.strategies._base import ContinualStrategy


class MergedAdaptersStrategy(ContinualStrategy):
    """The merging rows of HAM's Table 1: Linear, TIES and DARE-TIES over all tasks seen.

    Each adapter is trained as if its task were the only one; nothing is shared but the
    backbone. The merge is a running one: each task's adapter enters it once, so an evaluation
    after task 50 does not merge fifty adapters again.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of each adapter, at least 1.
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own.
        merge_rule: how adapters merge.
        space: what merges, one of ``factors`` (A and B apart, as peft: the paper's rows) or
            ``delta`` (the products B A).
        weights_rule: weight of each adapter, one of ``one`` (1) or ``mean`` (1/n).
        damping: further weight of each adapter but the first: a number in (0, 1], or one of
            ``sqrt`` (1 / root of t) or ``inverse`` (1/t) in task t. Adapters trained alone are
            not there when the next is trained, so it only lets earlier tasks weigh more.
        kwargs: of ``ContinualStrategy``.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        merge_rule: MergeRule = Linear(),
        space: str = "factors",
        weights_rule: str = "mean",
        damping: float | str = 1.0,
        **kwargs: Any,
    ) -> None:
        check_weights_rule(weights_rule)
        adapters = model.attach_adapters(targets)
        self.make_branch = low_rank_branches(rank, slots=slots)
        check_branches(adapters.layers, self.make_branch)
        damped_weight(damping, 1)  # says now if there is no such damping
        self.weights_rule, self.damping = weights_rule, damping
        self.merge_rule, self.space = merge_rule, space
        self.slots = None if slots is None else tuple(slots)
        self.merger = UpdateMerger(merge_rule, space=space, slots=self.slots)
        self._merged: Update | None = None
        super().__init__(model=model, **kwargs)
        self.memory = {"adapters": Archive()}

    def begin_task(self, experience: Any) -> None:
        """Open a fresh adapter beside the bare backbone."""
        self.adapters.open(self.make_branch, train_scales=False)

    def end_task(self, experience: Any) -> None:
        """Store the adapter and add it to the running merge."""
        update = self.adapters.close()
        self.memory["adapters"].append(update)
        self._add(update)

    def _add(self, update: Update) -> None:
        self.merger.add(update, damped_weight(self.damping, self.merger.count + 1))
        self._merged = None

    def inference_update(self) -> Update | None:
        """Merge all adapters; one that is still training counts as one more."""
        if self.adapters.is_open:
            merger = copy.deepcopy(self.merger)
            merger.add(self.adapters.current(), damped_weight(self.damping, merger.count + 1))
            return merger.result(self.weights_rule)
        if self._merged is None and self.merger.count:
            self._merged = self.merger.result(self.weights_rule)
        return self._merged

    def refresh(self) -> None:
        """Merge the stored adapters again, in order of arrival."""
        self.merger = UpdateMerger(self.merge_rule, space=self.space, slots=self.slots)
        self._merged = None
        for update in self.memory["adapters"]:
            self._add(moved(update, self.device))
