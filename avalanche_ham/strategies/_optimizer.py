"""One optimiser object for the whole stream, refilled with each experience's trainables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def default_optimizer(*, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Make the paper's AdamW; its parameters come with the first experience."""
    placeholder = nn.Parameter(torch.zeros(1))
    return torch.optim.AdamW(
        [placeholder], lr=lr, weight_decay=weight_decay, fused=True
    )


def refill(optimizer: torch.optim.Optimizer, groups: Sequence[dict[str, Any]]) -> None:
    """Empty an optimiser and give it parameter groups; no groups at all is fine.

    Rebuilding it from its defaults would fail for AdamW, and the user may hold a reference.
    A setting that is None, or that this optimiser does not have, takes the default.
    """
    optimizer.zero_grad()
    optimizer.state.clear()
    optimizer.param_groups.clear()
    for group in groups:
        known = {
            k: v for k, v in group.items() if k in optimizer.defaults and v is not None
        }
        optimizer.add_param_group({"params": group["params"], **known})
