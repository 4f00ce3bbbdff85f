"""SLAO's merge: the factors move towards the newest ones, less with every task."""

from __future__ import annotations

import torch
from torch import Tensor

from avalanche_ham.merging.damping import damped_weight


def time_aware_merge(
    merged: Tensor, newest: Tensor, *, task: int, weight: float | str = "sqrt"
) -> Tensor:
    """Give ``B_m + lambda(i) (B_ft,i - B_m)`` (SLAO, arXiv 2512.23017).

    The paper's ``sqrt``, ``lambda(i) = 1/sqrt(i)``, keeps the norm of a merge of orthogonal
    factors steady; ``inverse``, 1/i, makes it the mean of all tasks. The first task is taken
    whole.

    Args:
        merged: B_m, of the tasks before.
        newest: B_ft,i, of the same shape.
        task: i, from 1.
        weight: lambda, see ``damped_weight``.
    """
    return torch.lerp(merged, newest, damped_weight(weight, task, option="merge_weight"))
