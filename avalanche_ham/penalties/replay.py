"""Experience replay: go on learning from a few stored images of every earlier task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.errors import check_range
from avalanche_ham.heads.loss import at_least_fp32
from avalanche_ham.state import EXEMPLARS, Archive


class ReplayPenalty:
    """``strength * CE`` of a batch of stored images, all classes seen competing.

    At every step as many images as the mini-batch holds are drawn from the memory, augmented like
    it. With ``strength=1`` and the scope ``seen`` the whole loss is twice that of ER (Chaudhry et
    al. 2019, https://arxiv.org/abs/1902.10486): cross-entropy over both batches as one. When a
    task ends, ``per_class`` of its images of each class are drawn and kept for good.

    Avalanche's ``ReplayPlugin``, which works with any method here too, refers to the benchmark's
    data sets; these are copies in ``memory``, so that a run can go on without those.

    Args:
        per_class: images kept of each class of a task, at least 1; all where there are fewer.
        strength: weight of the stored images' loss, at least 0.

    Raises:
        OptionError: if an argument is outside its range.
    """

    def __init__(self, per_class: int = 20, strength: float = 1.0) -> None:
        check_range("er_per_class", per_class, 1, float("inf"))
        check_range("er_strength", strength, 0.0, float("inf"))
        self.per_class, self.strength = per_class, strength
        self.images: Tensor | None = None  # of all earlier tasks, (M, C, H, W)
        self.targets = torch.empty(0, dtype=torch.long)  # their class ids, (M,)

    def __repr__(self) -> str:
        return f"ReplayPenalty(per_class={self.per_class}, strength={self.strength})"

    def begin(self, strategy: Any) -> None:
        """Gather what the earlier tasks have left."""
        kept = strategy.memory.get(EXEMPLARS, [])
        self.images = torch.cat([part["images"] for part in kept]) if kept else None
        self.targets = torch.cat([part["targets"] for part in kept]) if kept else self.targets[:0]

    def __call__(self, strategy: Any) -> Tensor | None:
        """Give the loss of a batch of stored images; None in the first task."""
        if self.images is None:
            return None
        drawn = torch.randperm(len(self.images))[: len(strategy.mb_y)]
        images = self.images[drawn].to(strategy.device)
        if strategy.augment is not None:
            images = strategy.augment(images)
        with strategy.autocast():
            logits = strategy.model.head(strategy.model.encode(images).features)
        targets = self.targets[drawn].to(strategy.device)
        return self.strength * F.cross_entropy(at_least_fp32(logits), targets)

    def end(self, strategy: Any) -> None:
        """Keep some of the task's own, un-augmented images."""
        self.images = None
        data = strategy.experience.dataset.eval()
        targets = torch.as_tensor([int(target) for target in data.targets])
        drawn = []
        for label in targets.unique():
            places = (targets == label).nonzero().flatten()
            drawn.append(places[torch.randperm(len(places))[: self.per_class]])
        chosen = torch.cat(drawn)
        images = torch.stack([data[int(place)][0] for place in chosen])
        part = {"images": images, "targets": targets[chosen]}
        strategy.memory.setdefault(EXEMPLARS, Archive()).append(part)
