"""SLAO: one LoRA a task from an orthonormal start, merged into a single one as it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from avalanche_ham.adapters import LowRank, Update, low_rank_branches
from avalanche_ham.adapters.branch import check_branches
from avalanche_ham.adapters.low_rank import moved
from avalanche_ham.adapters.orthonormal import orthonormal_rows
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.merging import damped_weight
from avalanche_ham.merging.time_aware import time_aware_merge
from avalanche_ham.strategies._base import ContinualStrategy

INITS = ("last", "merged", "random")
MERGED = {"b": ("b",), "a": ("a",), "both": ("a", "b")}
FROZEN = ("a", "b")


class SLAOStrategy(ContinualStrategy):
    """Start each task from the last one's subspace, merge its B by a weight that falls.

    SLAO, "Merge before Forget" (Qiao and Mahdavi 2025, arXiv 2512.23017). For task i::

        start    A = Q^T of A_ft,i-1^T = Q R (``orthonormal_rows``),  B = B_ft,i-1
        train    A and B                                       -> A_ft,i, B_ft,i
        merge    A_m = A_ft,i,  B_m <- B_m + lambda(i) (B_ft,i - B_m),  lambda(i) = 1/sqrt(i)
        evaluate W0 + B_m A_m

    Task 1 is an ordinary LoRA, taken whole. The rows of A are orthonormal, not orthogonal to
    earlier tasks, and B A jumps at the start of a task, as B is not multiplied by R. Three
    matrices a layer are kept, however many tasks there are.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of the adapter, at least 1 (the paper: 8).
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own; None adapts whole layers (the
            paper: q and v).
        merge_weight: lambda(i), one of ``sqrt`` (one over the root of i) or ``inverse`` (1/i),
            or a constant in (0, 1].
        init: what a task starts from, one of ``last`` (the last fine-tuned pair), ``merged``
            (the merged pair) or ``random`` (a fresh LoRA).
        orthonormal: whether the rows of A are made orthonormal before a task starts from them;
            False trains on from the pair as it is.
        merged: factor that is merged, one of ``b``, ``a`` or ``both``; the other one is replaced.
        frozen: factor that does not train from the second task on, one of ``a`` or ``b``, which
            the other one is merged beside; None trains both.
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
        merge_weight: str | float = "sqrt",
        init: str = "last",
        orthonormal: bool = True,
        merged: str = "b",
        frozen: str | None = None,
        **kwargs: Any,
    ) -> None:
        damped_weight(merge_weight, 1, option="merge_weight")  # says now if there is no such one
        _check(init, orthonormal, merged, frozen)
        self.make_branch = low_rank_branches(rank, slots=slots)
        check_branches(model.attach_adapters(targets).layers, self.make_branch)
        self.rank, self.merge_weight, self.init = rank, merge_weight, init
        self.orthonormal, self.factors, self.frozen = orthonormal, MERGED[merged], frozen
        super().__init__(model=model, **kwargs)
        self.memory = {"last": {}, "merged": {}}  # of the latter the merged factors alone

    def begin_task(self, experience: Any) -> None:
        """Open a LoRA, in the second task and later at the orthonormal start."""
        self.adapters.open(self.make_branch, train_scales=False)
        self.memory = moved(self.memory, self.adapters.scales)  # the model may have been cast
        if self.task == 0:
            return
        if self.init != "random":
            update = self.memory["last"] if self.init == "last" else self.merged_pairs(self.memory)
            self.adapters.assign({name: self.start(pair) for name, pair in update.items()})
        if self.frozen is not None:
            for layer in self.adapters.layers.values():
                getattr(layer.branch, self.frozen).requires_grad_(False)

    def start(self, pair: LowRank) -> LowRank:
        """Give A with orthonormal rows, each slot's for itself, and B as it is."""
        if not self.orthonormal:
            return pair
        of_slots = pair.a.unflatten(0, (-1, self.rank))
        return LowRank(orthonormal_rows(of_slots).flatten(0, 1), pair.b)

    def end_task(self, experience: Any) -> None:
        """Merge what was trained."""
        self.memory = self.merge(self.adapters.close())

    def merge(self, trained: dict[str, LowRank]) -> dict[str, Any]:
        """Give ``memory`` as it is once the pairs of the current task have been merged."""
        how: dict[str, Any] = {"task": self.task + 1, "weight": self.merge_weight}
        merged: dict[str, dict[str, Tensor]] = {}
        for name, pair in trained.items():
            before = self.memory["merged"].get(name, pair._asdict())
            merged[name] = {
                factor: time_aware_merge(before[factor], getattr(pair, factor), **how)
                for factor in self.factors
            }
        return {"last": trained, "merged": merged}

    @staticmethod
    def merged_pairs(memory: dict[str, Any]) -> dict[str, LowRank]:
        """Give the merged pairs: the last ones, with the merged factors in place."""
        return {n: pair._replace(**memory["merged"][n]) for n, pair in memory["last"].items()}

    def inference_update(self) -> Update | None:
        """Fold the merged pair into the weights; within a task, as if it ended now."""
        memory = self.merge(self.adapters.current()) if self.adapters.is_open else self.memory
        return self.merged_pairs(memory) or None

    def refresh(self) -> None:
        """Bring the saved factors to where the model is."""
        self.memory = moved(self.memory, self.device)


def _check(init: str, orthonormal: bool, merged: str, frozen: str | None) -> None:
    """Refuse names that there are not, and options that would have no effect beside others."""
    if init not in INITS:
        raise UnknownNameError("init", init, INITS)
    if merged not in MERGED:
        raise UnknownNameError("merged", merged, MERGED)
    if frozen is not None and frozen not in FROZEN:
        raise UnknownNameError("frozen", frozen, FROZEN)
    if init == "random" and not orthonormal:
        raise OptionError("orthonormal", "true with init random, whose A is fresh", orthonormal)
    if init == "random" and frozen == "b":
        raise OptionError("frozen", "a or none with init random, whose B is 0", frozen)
    if merged == frozen:
        other = "b" if frozen == "a" else "a"
        allowed = f"{other} or both with frozen {frozen}, as what trains would not be merged"
        raise OptionError("merged", allowed, merged)
