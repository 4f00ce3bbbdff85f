"""I-LoRA: a fast LoRA that trains, and a slow one that follows it and is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avalanche_ham.adapters import LowRank, Update, low_rank_branches
from avalanche_ham.adapters.low_rank import interpolated, moved, scaled
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import check_range
from avalanche_ham.seeding import forked
from avalanche_ham.strategies._base import ContinualStrategy

Factors = dict[str, LowRank]


def follow_slowly(slow: Factors, fast: Factors, decay: float) -> Factors:
    """Move the slow factors a step towards the fast ones: ``decay slow + (1 - decay) fast``.

    I-LoRA (Ren et al. 2024, https://arxiv.org/abs/2402.18865). The factors are averaged,
    not their products; that has a meaning as both come from the same start.

    Args:
        slow, fast: layer -> factors of equal shapes.
        decay: lambda, in [0, 1].
    """
    return interpolated(slow, fast, 1 - decay)


class ILoRAStrategy(ContinualStrategy):
    """Train one LoRA from task to task; evaluate its moving average over the steps.

    I-LoRA (Ren et al. 2024, https://arxiv.org/abs/2402.18865), without its replay of stored
    samples, as in PAM's comparison. After every optimiser step::

        A_slow <- decay A_slow + (1 - decay) A_fast,     B_slow likewise

    The slow LoRA starts as a copy of the fast one, goes on from task to task and is never
    back-propagated. The head is the fast one's.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of both, at least 1 (the release's: 8).
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own.
        scale: s, lora_alpha / r, above 0 (the release's: 4).
        decay: lambda, in [0, 1]. None takes 1 - 1/n in a task of n steps, so that the slow LoRA
            looks back on about a task. The release's is 0.25: two steps.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, NoMatchError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        scale: float = 1.0,
        decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        if decay is not None:
            check_range("decay", decay, 0.0, 1.0)
        check_range("scale", scale, 0.0, float("inf"), open_low=True)
        self.decay, self.scale = decay, scale
        adapters = model.attach_adapters(targets)
        self.make_branch = low_rank_branches(rank, slots=slots)
        self._open(adapters, kwargs.get("seed", 0))
        super().__init__(model=model, **kwargs)
        self.memory = {"slow": {}}

    def _open(self, adapters: Any, seed: int) -> None:
        with forked(seed, "lora"):
            adapters.open(self.make_branch, scale=self.scale, train_scales=False)

    def begin_task(self, experience: Any) -> None:
        """Let the slow LoRA start as a copy of the fast one, in the first task."""
        slow = moved(self.memory["slow"], self.adapters.scales)  # the model may have been cast
        self.memory["slow"] = slow or self.adapters.current()

    def after_step(self) -> None:
        """Let the slow LoRA follow."""
        decay = 1 - 1 / self.total_steps if self.decay is None else self.decay
        self.memory["slow"] = follow_slowly(self.memory["slow"], self.adapters.current(), decay)

    def inference_update(self) -> Update | None:
        """Fold the slow LoRA into the weights."""
        return scaled(self.memory["slow"], self.scale) or None

    def refresh(self) -> None:
        """Open the fast LoRA, for the saved one to be loaded into; bring the slow one here."""
        self._open(self.adapters, self.seed)
        self.memory = moved(self.memory, self.device)
