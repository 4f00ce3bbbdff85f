"""O-LoRA: one adapter a task, held orthogonal to all earlier ones by a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from avalanche_ham.adapters import Update, low_rank_branches
from avalanche_ham.adapters.branch import check_branches
from avalanche_ham.adapters.low_rank import moved
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import UnknownNameError, check_range
from avalanche_ham.penalties.orthogonality import REDUCTIONS, orthogonality
from avalanche_ham.state import Archive
from avalanche_ham.strategies._base import ContinualStrategy


class OLoRAStrategy(ContinualStrategy):
    """Add an adapter a task whose input directions keep away from the earlier ones'.

    O-LoRA (Wang et al., EMNLP Findings 2023, https://arxiv.org/abs/2310.14152), Sec. 3::

        h    = (W0 + s sum_{k<t} B_k A_k + s B_t A_t) x        training and inference alike
        loss = CE + orthogonal sum |A_t A_old^T| + decay sum ||.||_2 of A_t and of B_t

    A_old holds the rows of all earlier A_k. Only A is held apart: where inputs of old tasks lie
    in the old directions, B_t A_t does not answer to them. More than i / r tasks have no room to
    be orthogonal (48 of rank 16 in ViT-B). The original is generative; here it has a head.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of each adapter, at least 1 (the release's: 8).
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own, such as ``("q", "v")``, the
            release's; None adapts whole layers.
        scale: s, lora_alpha / r, above 0 (the release's: 4).
        orthogonal: weight lambda1 of the overlap, at least 0 (the release's, task by task: 0, 0.5
            or 5).
        reduction: of the overlap's entries, one of ``sum`` (the release's) or ``mean``.
        decay: weight lambda2 of the new factors' norms, at least 0.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, UnknownNameError, NoMatchError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        scale: float = 1.0,
        orthogonal: float = 0.5,
        reduction: str = "sum",
        decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        check_range("scale", scale, 0.0, float("inf"), open_low=True)
        check_range("orthogonal", orthogonal, 0.0, float("inf"))
        check_range("decay", decay, 0.0, float("inf"))
        if reduction not in REDUCTIONS:
            raise UnknownNameError("reduction", reduction, REDUCTIONS)
        self.scale, self.orthogonal = scale, orthogonal
        self.reduction, self.decay = reduction, decay
        self.make_branch = low_rank_branches(rank, slots=slots)
        check_branches(model.attach_adapters(targets).layers, self.make_branch)
        self.pairs = 1 if slots is None else len(slots)
        super().__init__(model=model, **kwargs)
        self.memory = {"adapters": Archive()}
        self._old: dict[str, Tensor] = {}  # layer -> A_old, slot by slot, (pairs, R, i)

    def begin_task(self, experience: Any) -> None:
        """Open a fresh adapter beside the sum of the earlier ones."""
        self.adapters.open(self.make_branch, scale=self.scale, train_scales=False)

    def end_task(self, experience: Any) -> None:
        """Store the adapter, add it onto the sum, and its directions to the old ones."""
        update = self.adapters.close()
        self.memory["adapters"].append(update)
        self._take(update)

    def penalty(self) -> Tensor | None:
        """Give the weighted overlap with the old directions and norms of the new factors."""
        branches = {name: layer.branch for name, layer in self.adapters.layers.items()}
        total = None
        if self._old and self.orthogonal:
            overlaps = ((self._by_slot(b.a), self._old[name]) for name, b in branches.items())
            total = self.orthogonal * orthogonality(overlaps, self.reduction)
        if self.decay:
            factors = [f for b in branches.values() for f in (self._by_slot(b.a), b.b)]
            norms = torch.stack([f.flatten(1).norm(dim=1) for f in factors])
            total = self.decay * norms.sum() + (0.0 if total is None else total)
        return total

    def inference_update(self) -> Update | None:
        """Fold the sum of all tasks' adapters into the weights."""
        return self.adapters.total()

    def refresh(self) -> None:
        """Add up the stored adapters again, in order of arrival."""
        self._old = {}
        for update in self.memory["adapters"]:
            self._take(moved(update, self.device))

    def _take(self, update: Any) -> None:
        self.adapters.add(update, scale=self.scale, to=0 if self.adapters.n_terms else None)
        for name, change in update.items():
            rows = self._by_slot(change.a)
            old = self._old.get(name)
            self._old[name] = rows if old is None else torch.cat([old, rows], dim=1)

    def _by_slot(self, a: Tensor) -> Tensor:
        """Split input factors ``(pairs * r, i)`` into ``(pairs, r, i)``."""
        return a.view(self.pairs, -1, a.shape[1])
