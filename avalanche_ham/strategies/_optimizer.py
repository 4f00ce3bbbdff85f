"""One optimiser object for the whole stream, refilled with each experience's trainables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def default_optimizer(*, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Make the paper's AdamW; its parameters come with the first experience."""
    placeholder = nn.Parameter(torch.zeros(1))
    return torch.optim.AdamW([placeholder], lr=lr, weight_decay=weight_decay, fused=True)


def refill(
    optimizer: torch.optim.Optimizer,
    groups: Sequence[dict[str, Any]],
    settings: dict[str, Any],
) -> None:
    """Empty an optimiser and give it parameter groups; no groups at all is fine.

    Rebuilding it from its defaults would fail for AdamW, and the user may hold a reference.
    Groups with the same settings become one: schedulers were made for one group.

    Args:
        optimizer: made by the user or by ``default_optimizer``.
        groups: ``params`` and settings; one that is None, or that this optimiser does not
            have, is taken from ``settings``.
        settings: those of the group that the optimiser was made with.
    """
    optimizer.zero_grad()
    optimizer.state.clear()
    optimizer.param_groups.clear()
    merged: list[tuple[dict[str, Any], list[Any]]] = []  # settings and their parameters
    for group in groups:
        own = {k: v for k, v in group.items() if k in settings and v is not None}
        own = {**settings, **own}
        alike = next((params for known, params in merged if known == own), None)
        if alike is None:
            merged.append((own, alike := []))
        alike += group["params"]
    for own, params in merged:
        optimizer.add_param_group({**own, "params": params})
