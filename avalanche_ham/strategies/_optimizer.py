"""One optimiser object for the whole stream, refilled with each experience's trainables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from avalanche_ham.plugins._rates import add_group, follow, users_groups


def default_optimizer(*, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Make the paper's AdamW; its parameters come with the first experience."""
    placeholder = nn.Parameter(torch.zeros(1))
    return torch.optim.AdamW([placeholder], lr=lr, weight_decay=weight_decay, fused=True)


def refill(optimizer: torch.optim.Optimizer, groups: Sequence[dict[str, Any]]) -> None:
    """Empty an optimiser and give it parameters; none at all is fine.

    Rebuilding it from its defaults would fail for AdamW, and the user may hold a reference, as
    schedulers do: the groups that it was made with stay, with whatever rate they have by now.

    Args:
        optimizer: made by the user or by ``default_optimizer``.
        groups: ``params``, a ``name`` and settings. One with neither name nor settings fills
            the optimiser's first group, any other becomes a group that follows the first in
            all that it leaves open. Settings that this optimiser does not have are left out.
    """
    optimizer.zero_grad()
    optimizer.state.clear()
    optimizer.param_groups[:] = users_groups(optimizer)
    for group in optimizer.param_groups:
        group["params"] = []
        group.pop("param_names", None)  # all or none may have them
    first = optimizer.param_groups[0]
    first.setdefault("name", "adapter")
    for group in groups:
        own = {k: v for k, v in group.items() if k in first and v is not None}
        own = {k: v for k, v in own.items() if k not in ("params", "name")}
        if own or "name" in group:
            add_group(optimizer, group["params"], group.get("name", "other"), own)
        else:
            first["params"] = [*first["params"], *group["params"]]
    follow(optimizer)
