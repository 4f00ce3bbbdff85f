"""One set of weights trained task after task: the simple methods every comparison needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from avalanche_ham.adapters import Update, low_rank_branches
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import UnknownNameError
from avalanche_ham.seeding import forked
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies._loop import Phase

TRAINS = ("network", "lora", "head", "nothing")


class SequentialStrategy(ContinualStrategy):
    """Train the same weights on every experience, with or without a penalty on forgetting.

    ``network``: all weights (the paper's fine-tuning, EWC and LwF rows). ``lora``: one
    low-rank adapter that is never restarted. ``head``: the classifier alone on the frozen
    backbone. ``nothing``: no training; a closed-form readout is all that learns.

    Args:
        model: from ``create_model``.
        trains: one of ``network``, ``lora``, ``head``, ``nothing``.
        rank: rank of the adapter (``lora``), at least 1.
        targets: name suffixes of the adapted linear layers (``lora``).
        regulariser: ``EWCPenalty``, ``LwFPenalty``, ``ReplayPenalty`` or None.
        kwargs: of ``ContinualStrategy``.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        trains: str = "lora",
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        regulariser: Any = None,
        **kwargs: Any,
    ) -> None:
        if trains not in TRAINS:
            raise UnknownNameError("trains", trains, TRAINS)
        self.trains, self.regulariser = trains, regulariser
        if trains == "network":
            train_backbone(model)
        elif trains == "lora":
            model.attach_adapters(targets)
            self.make_branch = low_rank_branches(rank)
            self._open(model.adapters, kwargs.get("seed", 0))
        super().__init__(model=model, **kwargs)

    def _open(self, adapters: Any, seed: int) -> None:
        with forked(seed, "lora"):
            adapters.open(self.make_branch, train_scales=False)

    def refresh(self) -> None:
        """Open the adapter, for the saved one to be loaded into."""
        if self.trains == "lora":
            self._open(self.adapters, self.seed)

    @property
    def moves_features(self) -> bool:
        """Whether the encoder trains."""
        return self.adapts and self.trains in ("network", "lora")

    def begin_task(self, experience: Any) -> None:
        """Let the penalty look at the model as it is before the task."""
        if self.regulariser is not None:
            self.regulariser.begin(self)

    def end_task(self, experience: Any) -> None:
        """Let the penalty consolidate what the task has learned."""
        if self.regulariser is not None:
            self.regulariser.end(self)

    def penalty(self) -> Tensor | None:
        """The penalty on forgetting."""
        return None if self.regulariser is None else self.regulariser(self)

    def phases(self) -> Iterator[Phase]:
        """One phase, or none where nothing trains."""
        if self.trains != "nothing":
            yield from super().phases()

    def trainable_groups(self) -> list[dict[str, Any]]:
        """Everything that requires a gradient, or nothing at all."""
        return [] if self.trains == "nothing" else super().trainable_groups()

    def inference_update(self) -> Update | None:
        """Fold the adapter into the weights."""
        return self.adapters.total() if self.trains == "lora" else None


def train_backbone(model: ContinualModel) -> None:
    """Make the encoder trainable; a ViT's frozen convolutional stem stays frozen."""
    model.adaptable.requires_grad_(True)
    stem = getattr(getattr(model.adaptable, "patch_embed", None), "backbone", None)
    if stem is not None:  # its batch norms run on stored statistics
        stem.requires_grad_(False)
