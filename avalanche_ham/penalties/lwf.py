"""Learning without forgetting: keep the old classes' soft predictions."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.errors import check_range


class LwFPenalty:
    """``strength * KL(softmax(z_old / T) || softmax(z / T))`` over the classes seen before.

    z_old are the logits of a frozen copy of the model as it was before this task, on the
    same augmented images; the mean is over the batch and there is no factor T^2 (Avalanche).
    The copy is made anew when a task begins, so nothing extra is stored between tasks.

    Args:
        strength: weight alpha, at least 0.
        temperature: T, above 0.
    """

    def __init__(self, strength: float = 1.0, *, temperature: float = 2.0) -> None:
        check_range("lwf_strength", strength, 0.0, float("inf"))
        check_range("lwf_temperature", temperature, 0.0, float("inf"), open_low=True)
        self.strength, self.temperature = strength, temperature
        self.teacher: Any = None  # the model as it was

    def __repr__(self) -> str:
        return f"LwFPenalty(strength={self.strength}, temperature={self.temperature})"

    def begin(self, strategy: Any) -> None:
        """Copy the model before it learns a new task; there is no teacher in the first."""
        self.teacher = None
        if len(strategy.model.head.classes):
            self.teacher = copy.deepcopy(strategy.model).eval().requires_grad_(False)

    def __call__(self, strategy: Any) -> Tensor | None:
        """Give the distillation loss of the current mini-batch; None in the first task."""
        if self.teacher is None:
            return None
        old = self.teacher.head.classes
        with torch.no_grad(), strategy.autocast():
            features = self.teacher.encode(strategy.mb_x).features
            target = self.teacher.head(features)[:, old].float() / self.temperature
        student = strategy.mb_output[:, old].float() / self.temperature
        loss = F.kl_div(student.log_softmax(1), target.softmax(1), reduction="batchmean")
        return self.strength * loss

    def end(self, strategy: Any) -> None:
        """Drop the teacher."""
        self.teacher = None
