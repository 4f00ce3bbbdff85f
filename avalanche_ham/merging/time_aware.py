"""SLAO's merge: the factors move towards the newest ones by a weight that falls with time."""

from __future__ import annotations

import torch
from torch import Tensor

from avalanche_ham.errors import UnknownNameError, check_range

WEIGHTS = {  # name -> lambda(i) of task i, counted from 1
    "sqrt": lambda task: task**-0.5,
    "inverse": lambda task: 1 / task,
}


def check_merge_weight(weight: str | float) -> None:
    """Raise UnknownNameError or OptionError unless a weight is in ``WEIGHTS`` or (0, 1]."""
    if not isinstance(weight, str):
        check_range("merge_weight", weight, 0.0, 1.0, open_low=True)
    elif weight not in WEIGHTS:
        raise UnknownNameError("merge_weight", weight, WEIGHTS)


def time_aware_weight(task: int, weight: str | float) -> float:
    """Give lambda(i) of SLAO (arXiv 2512.23017): how far task i moves the merged factors.

    The first task is taken whole. ``sqrt``, the paper's, keeps the norm of a merge of
    orthogonal factors steady; ``inverse`` makes it the mean of all tasks; a number is the
    weight of every later task.

    Args:
        task: i, counted from 1.
        weight: a name of ``WEIGHTS`` or a number in (0, 1].

    >>> [round(time_aware_weight(task, "sqrt"), 3) for task in (1, 2, 4)]
    [1.0, 0.707, 0.5]
    """
    if task == 1:
        return 1.0
    return WEIGHTS[weight](task) if isinstance(weight, str) else weight


def moved_towards(merged: Tensor, newest: Tensor, weight: float) -> Tensor:
    """Give ``B_m + lambda (B_ft - B_m)``, all of one shape; ``weight`` is lambda."""
    return torch.lerp(merged, newest, weight)
