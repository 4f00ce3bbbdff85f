"""TALL masks: what an entry's task stands out with, and what several tasks share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avalanche_ham.errors import check_range
from avalanche_ham.merging.rule import aligned


def tall_mask(task: Tensor, total: Tensor, threshold: float) -> Tensor:
    """Mark what matters to a task: ``|tau_t| > lambda |tau_MT - tau_t|`` (TALL, arXiv 2405.07813).

    Args:
        task: tau_t, the task's own change, any shape.
        total: tau_MT, the sum of all tasks' changes.
        threshold: lambda, at least 0; a larger one marks less.
    """
    return task.abs() > threshold * (total - task).abs()


@dataclass(frozen=True)
class Tall:
    """Consensus merging by TALL masks (Wang et al. 2024, arXiv 2405.07813).

    ``1[sum_t m_t >= k] * sum_t w_t v_t`` with the masks m_t of ``tall_mask``: k = 2 drops what
    matters to no task and to one alone. Of two tensors u and v (PAM's continual form) the
    entries stay that are within a factor 1/lambda of each other. All tensors that were added
    are kept, so memory grows with their number.

    Args:
        mask_threshold: lambda of the masks, at least 0 (PAM: 0.1; the paper: 0.2 to 0.6).
        shared_by: k, in how many masks an entry must be, at least 1.

    Raises:
        OptionError: if an argument is outside its range.
    """

    mask_threshold: float = 0.1
    shared_by: int = 2

    def __post_init__(self) -> None:
        """Check the options."""
        check_range("mask_threshold", self.mask_threshold, 0, float("inf"))
        check_range("shared_by", self.shared_by, 1, float("inf"))

    def start(self, place: str) -> _TallMerger:
        """Begin a collection."""
        return _TallMerger(self)


class _TallMerger:
    def __init__(self, rule: Tall) -> None:
        self.rule = rule
        self.tasks: Tensor | None = None  # (T, o, i)

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        tasks = tensor.new_zeros(0, *tensor.shape) if self.tasks is None else self.tasks
        self.tasks = torch.cat(aligned(tasks, weight * tensor[None]))

    def result(self, scale: float) -> Tensor:
        assert self.tasks is not None
        total = self.tasks.sum(0)
        masks = tall_mask(self.tasks, total, self.rule.mask_threshold)
        return scale * total * (masks.sum(0) >= self.rule.shared_by)
