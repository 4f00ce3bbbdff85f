"""One global LoRA that evolves: cloned, trained on a task, merged back (PAM and its kin)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from avalanche_ham.adapters import LowRank, Update, low_rank_branches
from avalanche_ham.adapters.branch import check_branches
from avalanche_ham.adapters.low_rank import interpolated, moved
from avalanche_ham.adapters.slots import each_matrix, split_slots
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import OptionError, UnknownNameError, check_range
from avalanche_ham.merging import Linear, MergeRule, damped_weight
from avalanche_ham.merging.raw_factors import merge_raw_factors
from avalanche_ham.merging.rule import check_weights_rule
from avalanche_ham.merging.sign_alignment import SignAlignment, misaligned
from avalanche_ham.merging.tall import Tall
from avalanche_ham.merging.ties import Ties, survivors
from avalanche_ham.strategies._base import ContinualStrategy

STARTS = ("global", "fresh")


class EvolvingStrategy(ContinualStrategy):
    """Train a clone of one global LoRA on each task, then merge both.

    PAM, "Continual Learning in Vision-Language Models via Aligned Model Merging" (arXiv
    2506.03189), Sec. 3 and 4. For each task::

        clone    theta <- theta_g                      (the first task: an ordinary LoRA)
        train    theta; every S steps the signs of theta are aligned with theta_g (PAM)
        merge    theta_g <- Merge(theta_g, theta)      each A and each B for itself
        evaluate W0 + theta_g

    ``average``, ``continual_ties`` and ``tall`` merge by that rule without alignment; ``pam``,
    ``pam_zero`` and ``tall_pam`` align. One LoRA is kept, however many tasks there are. The
    head's rows are trained beside theta, neither aligned nor merged.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of the LoRA, at least 1 (the paper: 32).
        targets: name suffixes of the adapted linear layers (the paper: attention and MLP).
        slots: parts of a fused qkv with factors of their own; None adapts whole layers.
        merge_rule: how the global LoRA and the clone merge, matrix by matrix.
        weights_rule: weight of both in the merge, one of ``one`` (1) or ``mean`` (1/2).
        merges: False puts the clone in the global LoRA's place; with the linear rule and mean
            weights only, as no other would do anything.
        damping: weight of the clone's distance from the global LoRA as it is merged, from the
            second task on: a number in (0, 1], where 1 merges the whole clone, or one of ``sqrt``
            (1 / root of t) or ``inverse`` (1/t) in task t.
        start: what a task starts from, one of ``global`` or ``fresh`` (a new LoRA).
        alignment: of signs during training; None lets them be.
        pull: weight of the squared distance of all factors to the global ones in the loss, at
            least 0 (the paper's alternative to alignment).
        regulariser: ``LwFPenalty``, ``EWCPenalty``, ``ReplayPenalty`` or None.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, NoMatchError, UnknownNameError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        merge_rule: MergeRule = Linear(),
        weights_rule: str = "mean",
        merges: bool = True,
        damping: float | str = 1.0,
        start: str = "global",
        alignment: SignAlignment | None = None,
        pull: float = 0.0,
        regulariser: Any = None,
        **kwargs: Any,
    ) -> None:
        check_weights_rule(weights_rule)
        damped_weight(damping, 1)  # says now if there is no such damping
        check_range("pull", pull, 0.0, float("inf"))
        if start not in STARTS:
            raise UnknownNameError("start", start, STARTS)
        _check_rule(merge_rule)
        if not merges and (merge_rule != Linear() or weights_rule != "mean"):
            allowed = "true with a merge rule or weights of its own, which would do nothing"
            raise OptionError("merges", allowed, merges)
        self.make_branch = low_rank_branches(rank, slots=slots)
        check_branches(model.attach_adapters(targets).layers, self.make_branch)
        self.slots = None if slots is None else tuple(slots)
        self.merge_rule, self.weights_rule, self.merges = merge_rule, weights_rule, merges
        self.damping = damping
        self.start, self.alignment, self.pull = start, alignment, pull
        self.regulariser = regulariser
        super().__init__(model=model, **kwargs)
        self.memory = {"global": {}, "misaligned": []}

    def begin_task(self, experience: Any) -> None:
        """Clone the global LoRA; penalties look at it before a fresh one takes its place."""
        self.adapters.open(self.make_branch, train_scales=False)
        self.memory = moved(self.memory, self.adapters.scales)  # the model may have been cast
        fresh = self.adapters.current()
        self.adapters.assign(self.memory["global"])
        if self.regulariser is not None:
            self.regulariser.begin(self)
        if self.start == "fresh":
            self.adapters.assign(fresh)

    def after_step(self) -> None:
        """Align every S steps."""
        if self.alignment is not None and self.alignment.is_due(self.step, self.total_steps):
            self.align(self.alignment)

    def align(self, alignment: SignAlignment) -> None:
        """Align the clone with the global LoRA; there is none before the first task has ended."""
        clone, known = self.adapters.current(), self.memory["global"]
        aligned = {
            name: each_matrix(lambda _, m, g: alignment(m, g), [clone[name], pair], self.slots)
            for name, pair in known.items()
        }
        self.adapters.assign(aligned)

    def penalty(self) -> Tensor | None:
        """The penalty on forgetting and the pull to the global LoRA."""
        total = None if self.regulariser is None else self.regulariser(self)
        if self.pull and self.memory["global"]:
            pull = self.pull * self.squared_distance()
            total = pull if total is None else total + pull
        return total

    def squared_distance(self) -> Tensor:
        """Sum ``(M - M_g)^2`` over all entries of all factors of clone and global LoRA."""
        total = torch.zeros((), device=self.device)
        for name, pair in self.memory["global"].items():
            now = self.adapters.layers[name].branch.factors()
            total = total + sum((m - g).square().sum() for m, g in zip(now, pair))
        return total

    def probed_updates(self) -> dict[str, Update]:
        """Give the clone as TIES trims it, whose loss of accuracy PAM avoids (PAM, Fig. 4)."""
        rule = self.merge_rule
        if not (isinstance(rule, Ties) and self.memory["global"]):
            return {}  # of the first task nothing is trimmed
        clone, known = self.adapters.current(), self.memory["global"]
        trimmed = {
            name: each_matrix(
                lambda _, *both: survivors(both, rule)[0], [clone[name], pair], self.slots
            )
            for name, pair in known.items()
        }
        return {"trimmed": {**clone, **trimmed}}

    def end_task(self, experience: Any) -> None:
        """Merge the clone into the global LoRA."""
        if self.alignment is not None and self.alignment.last:
            self.align(self.alignment)
        if self.regulariser is not None:
            self.regulariser.end(self)
        clone = self.adapters.close()
        if self.memory["global"]:
            share = misaligned_share(clone, self.memory["global"], self.slots)
            self.memory["misaligned"].append(share)
        self.memory["global"] = self.merged(clone)

    def merged(self, clone: dict[str, LowRank]) -> dict[str, LowRank]:
        """Give the global LoRA as it is once a clone is merged."""
        known = self.memory["global"]
        if not known:
            return clone
        clone = interpolated(known, clone, damped_weight(self.damping, self.task + 1))
        if not self.merges:
            return clone
        both = [known, clone]
        scale = 1.0 if self.weights_rule == "one" else 0.5
        return merge_raw_factors(both, self.merge_rule, scale=scale, slots=self.slots)

    def inference_update(self) -> Update | None:
        """Fold the global LoRA into the weights; within a task, as if it ended now."""
        if self.adapters.is_open:
            return self.merged(self.adapters.current())
        return self.memory["global"] or None

    def describe(self) -> Any:
        """Give the share of entries whose sign differs before the merge, from task 2 on."""
        return {"misaligned": self.memory["misaligned"]}

    def refresh(self) -> None:
        """Bring the saved LoRA to where the model is."""
        self.memory = moved(self.memory, self.device)


def _check_rule(rule: MergeRule) -> None:
    """Refuse what would empty the global LoRA for good: factors of zeros have no gradient."""
    if isinstance(rule, Ties):
        check_range("density", rule.density, 0.0, 1.0, open_low=True)
    if isinstance(rule, Tall):
        check_range("shared_by", rule.shared_by, 1, 2)  # two tensors have two masks


def misaligned_share(
    clone: dict[str, LowRank], known: dict[str, LowRank], slots: Sequence[str] | None
) -> float:
    """Give the fraction of all entries of all factors that have opposite signs, in [0, 1]."""
    wrong = count = 0
    for name, pair in known.items():
        for mine, theirs in zip(split_slots(clone[name], slots), split_slots(pair, slots)):
            for matrix, reference in zip(mine, theirs):
                wrong += int(misaligned(matrix, reference).sum())
                count += matrix.numel()
    return wrong / count
