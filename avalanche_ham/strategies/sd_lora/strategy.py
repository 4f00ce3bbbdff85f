"""SD-LoRA: one frozen direction per task, and magnitudes that all go on training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from avalanche_ham.adapters import LowRank, LowRankTerms, Update, low_rank_branches
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import OptionError, UnknownNameError, check_range
from avalanche_ham.seeding import preserved
from avalanche_ham.state import Archive
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies.sd_lora.direction import (
    FORMS,
    direction,
    express,
    extended_gram,
    inner,
)

VARIANTS = ("rr", "kd")
RANK_STEPS = (
    (4, 1.0),
    (8, 0.8),
)  # (up to this many tasks, share of the rank); 0.6 afterwards
LAST_SHARE = 0.6


class SDLoRAStrategy(ContinualStrategy):
    """Train a low-rank branch beside the normalised directions of all earlier tasks.

    SD-LoRA (Wu et al., ICLR 2025), Sec. 3::

        h = (W0 + sum_{k<t} alpha_k D_k + alpha_t B_t A_t) x,   D_k = B_k A_k / ||B_k A_k||_F

    A_t, B_t and all magnitudes alpha_1..t train; the directions D_k never change. Each of q
    and v has a norm of its own; a magnitude belongs to the whole network. The branch is
    normalised when the next task begins, so evaluation after task t uses the form that task
    t was trained in. Any number of tasks; the old directions are one wide product.

    Between tasks magnitudes go on from where they were, and alpha_t becomes the magnitude
    that fits ``alpha_t B_t A_t`` best on all layers together (least squares). The released
    code (``form="code"``, ``reset_alphas=True``, ``alpha=0.8``) starts all of them afresh.

    Variants (Sec. 3.3): ``rr`` lowers the rank to 80 % after 4 tasks and 60 % after 8 (10, 8,
    6). ``kd`` expresses each new direction by the old ones and, if they explain it, adds its
    magnitude to theirs and drops it.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of each adapter, at least 1.
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own; None adapts whole layers.
        form: what a direction is divided by, one of ``paper`` (the norm of the product) or
            ``code`` (the product of the norms).
        alpha: start of each magnitude.
        alpha_lr: learning rate of the magnitudes, at least 0; None takes the optimiser's.
        reset_alphas: start every task with all magnitudes at ``alpha``.
        variant: None, or one of ``rr`` (reduced ranks) or ``kd`` (merged directions).
        tolerance: largest squared residual at which ``kd`` drops a direction, at least 0; the
            mean over the adapted matrices, whose directions have norm 1.
        kwargs: of ``ContinualStrategy``. The release uses SGD with momentum 0.9, lr 8e-3.

    Raises:
        OptionError, UnknownNameError, NoMatchError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 10,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = ("q", "v"),
        form: str = "paper",
        alpha: float = 1.0,
        alpha_lr: float | None = None,
        reset_alphas: bool = False,
        variant: str | None = None,
        tolerance: float = 9e-4,
        **kwargs: Any,
    ) -> None:
        if form not in FORMS:
            raise UnknownNameError("form", form, FORMS)
        if variant is not None and variant not in VARIANTS:
            raise UnknownNameError("variant", variant, VARIANTS)
        if variant == "kd" and reset_alphas:
            allowed = "False with the variant kd, which keeps what it drops in the magnitudes"
            raise OptionError("reset_alphas", allowed, reset_alphas)
        if alpha_lr is not None:
            check_range("alpha_lr", alpha_lr, 0.0, float("inf"))
        check_range("tolerance", tolerance, 0.0, float("inf"))
        adapters = model.attach_adapters(targets, LowRankTerms)
        self.rank, self.slots, self.form = rank, slots, form
        self.alpha, self.reset_alphas = alpha, reset_alphas
        self.variant, self.tolerance = variant, tolerance
        self.pairs = 1 if slots is None else len(slots)
        for name, layer in adapters.layers.items():
            low_rank_branches(rank, slots=slots)(name, layer)  # says now if it cannot fit
        super().__init__(model=model, **kwargs)
        self.alpha_lr = alpha_lr
        self.memory = {"directions": Archive(), "ranks": [], "residuals": []}
        if variant == "kd":
            self.memory["gram"] = torch.zeros(0, 0, dtype=torch.float64)

    def begin_task(self, experience: Any) -> None:
        """Freeze the latest branch as a direction and open the next."""
        if self.adapters.is_open:
            self._freeze_latest()
        rank = self.rank
        if self.variant == "rr":
            rank = reduced_rank(rank, self.task)
        self._open(rank)
        if self.reset_alphas:
            with torch.no_grad():
                self.adapters.scales.fill_(self.alpha)
        self.memory["ranks"].append(rank)

    def inference_update(self) -> Update | None:
        """Fold directions and branch, each with its magnitude, into the weights."""
        return self.adapters.total() if self.adapters.is_open else None

    def describe(self) -> Any:
        """Give the magnitudes, the task's own last, each task's rank and KD's residuals."""
        return {
            "alphas": self.adapters.scales.tolist(),
            "ranks": self.memory["ranks"],
            "residuals": self.memory["residuals"],
        }

    def refresh(self) -> None:
        """Rebuild the directions and a branch for the saved one to be loaded into."""
        for fixed in self.memory["directions"]:
            self.adapters.add(fixed, scale=0.0)
        if self.memory["ranks"]:
            with preserved():
                self._open(self.memory["ranks"][-1])

    def _open(self, rank: int) -> None:
        self.adapters.open(low_rank_branches(rank, slots=self.slots), scale=self.alpha)

    @torch.no_grad()
    def _freeze_latest(self) -> None:
        """Turn the open branch into a direction and a magnitude (or, for KD, into others')."""
        alpha = float(self.adapters.scales[-1])
        trained = self.adapters.close()
        fixed = direction(trained, pairs=self.pairs, form=self.form)
        size = float(inner(fixed, fixed))
        magnitude = alpha * float(inner(trained, fixed)) / size if size else 0.0
        if self.variant == "kd" and self._absorb(fixed, magnitude):
            return
        self.adapters.add(fixed, scale=magnitude)
        self.memory["directions"].append(fixed)

    def _absorb(self, fixed: dict[str, LowRank], magnitude: float) -> bool:
        """Give a direction's magnitude to the old ones if they explain it (Sec. 3.3)."""
        memory, scales = self.memory, self.adapters.scales
        gram = extended_gram(memory["gram"], memory["directions"], fixed)
        if len(gram) > 1:
            coefficients, residual = express(gram)
            memory["residuals"].append(residual / (len(fixed) * self.pairs))
            if memory["residuals"][-1] <= self.tolerance:
                scales += (coefficients * magnitude).to(scales)
                return True
        memory["gram"] = gram
        return False


def reduced_rank(rank: int, task: int) -> int:
    """Give SD-LoRA-RR's rank of a task, counted from 0 (Sec. 3.3).

    >>> [reduced_rank(10, task) for task in (0, 3, 4, 7, 8, 99)]
    [10, 10, 8, 8, 6, 6]
    """
    share = next((share for last, share in RANK_STEPS if task < last), LAST_SHARE)
    return max(1, round(rank * share))
