"""Rows that grow by a slice a task: the newest slice trains, earlier ones are constants."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TaskSlices"]


class TaskSlices(nn.Module):
    """A tensor of rows, of which only those of the newest task are a parameter.

    Earlier rows are a buffer: no gradient, decay or momentum can reach them. Loading a saved
    state makes the tensor as long as the saved one.

    Args:
        shape: shape of one row.
    """

    old: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("old", torch.zeros(0, *shape))
        self.new = nn.Parameter(torch.zeros(0, *shape))

    def __len__(self) -> int:
        """Number of rows, of all tasks."""
        return len(self.old) + len(self.new)

    def grow(self, rows: Tensor) -> None:
        """Freeze what is there and add the trainable rows of a new task, ``(n, *shape)``."""
        self.old = self.rows().detach()
        self.new = nn.Parameter(rows.detach().to(self.old))

    def rows(self) -> Tensor:
        """Give all rows in the order of their tasks; gradients reach the newest only."""
        return torch.cat([self.old, self.new])

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        for name in ("old", "new"):
            saved, own = state.get(prefix + name), getattr(self, name)
            if saved is None or saved.shape == own.shape:
                continue  # an optimiser may hold the parameter
            if saved.shape[1:] == own.shape[1:]:
                resized = own.detach().new_zeros(saved.shape)
                setattr(self, name, nn.Parameter(resized) if name == "new" else resized)
        super()._load_from_state_dict(state, prefix, *args)
