"""SEMA's modules: adapters beside a block's MLP, a descriptor of each, and a router.

SEMA (Wang et al., CVPR 2025), Sec. 3. N images, L tokens, d width, K adapters of a block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 500  # newest training losses that a descriptor's statistics are made of
FEWEST = 3  # losses below which there are no statistics


class ParallelAdapter(nn.Module):
    """A bottleneck ``up(relu(down(x)))`` beside the MLP; starts as zero (Sec. 3.2).

    Args:
        width: d.
        hidden: width of the bottleneck, at least 1.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., d)`` to ``(..., d)``."""
        return self.up(F.relu(self.down(x)))


class Descriptor(nn.Module):
    """A linear auto-encoder that knows one adapter's inputs by their error (Sec. 3.3).

    Args:
        width: d.
        hidden: width of the code, at least 1.
    """

    mean: Tensor
    std: Tensor
    count: Tensor

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for layer in (self.encoder, self.decoder):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))
            nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.recent: list[Tensor] = []  # losses of the latest batches, the newest last

    def forward(self, pooled: Tensor) -> Tensor:
        """Give each image's mean squared error, ``(N,)``, for token means ``(N, d)``."""
        with torch.autocast(pooled.device.type, enabled=False):
            x = pooled.to(self.encoder.weight.dtype)
            return (self.decoder(self.encoder(x)) - x).square().mean(1)

    def record(self, losses: Tensor) -> None:
        """Remember losses ``(N,)``; the oldest beyond the window are forgotten."""
        self.recent.append(losses.detach())
        while sum(map(len, self.recent[1:])) >= WINDOW:
            self.recent.pop(0)

    def settle(self) -> None:
        """Fix the statistics to those of the remembered losses, and forget the losses."""
        if not self.recent:
            return
        losses = torch.cat(self.recent)[-WINDOW:]
        self.recent = []
        self.count.fill_(len(losses))
        self.mean.copy_(losses.mean())
        if len(losses) > 1:
            self.std.copy_(losses.std())

    def deviation(self, pooled: Tensor) -> Tensor:
        """Give ``|z|`` of each image's loss, ``(N,)``; 0 without statistics."""
        losses = self(pooled)
        if self.count < FEWEST:
            return torch.zeros_like(losses)
        return (losses - self.mean).abs() / self.std.clamp_min(1e-12)


class BlockAdapters(nn.Module):
    """All adapters of one block, mixed by a router (Sec. 3.2).

    ``f(x) = sum_k w_k adapter_k(x)`` with ``w = softmax(router(mean of the tokens))``, one
    router row an adapter; a single adapter is taken as it is. Everything but the newest
    adapter stays frozen.

    Args:
        width: d.
        hidden: width of the adapters' bottleneck.
        descriptor_width: width of the descriptors' code; 0 for a block that never expands and
            so needs neither descriptors nor a router.
    """

    def __init__(self, width: int, *, hidden: int, descriptor_width: int) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.descriptor_width = descriptor_width
        self.clear()

    def clear(self) -> None:
        """Start without any adapter."""
        self.adapters: Any = nn.ModuleList()
        self.descriptors: Any = nn.ModuleList()
        self.router: Any = nn.ModuleList()  # one row an adapter
        self.is_new = False  # whether the newest adapter is in training

    @property
    def expandable(self) -> bool:
        """Whether the block may get more than one adapter."""
        return self.descriptor_width > 0

    def grow(self) -> None:
        """Add an adapter, with its descriptor and router row; it is frozen so far."""
        self.adapters.append(ParallelAdapter(self.width, self.hidden))
        if self.expandable:
            self.descriptors.append(Descriptor(self.width, self.descriptor_width))
            self.router.append(nn.Linear(self.width, 1))
        self.requires_grad_(False)
        self.is_new = True

    def train_adapter(self) -> None:
        """Let the newest adapter and its router row train, if they are new."""
        self.requires_grad_(False)
        if self.is_new:
            self.adapters[-1].requires_grad_(True)
            if len(self.adapters) > 1:  # a lone row has no say
                self.router[-1].requires_grad_(True)

    def train_descriptor(self) -> None:
        """Let the newest descriptor train, if it is new."""
        self.requires_grad_(False)
        if self.is_new and self.expandable:
            self.descriptors[-1].requires_grad_(True)

    def forget(self) -> None:
        """Drop the losses that the newest descriptor remembers."""
        if self.is_new and self.expandable:
            self.descriptors[-1].recent = []

    def freeze(self) -> None:
        """End the training of the newest adapter and fix its descriptor's statistics."""
        self.requires_grad_(False)
        if self.is_new and self.expandable:
            self.descriptors[-1].settle()
        self.is_new = False

    def shares(self, pooled: Tensor) -> Tensor:
        """Give the router's weights ``(N, K)`` for token means ``(N, d)``."""
        rows = torch.cat([row.weight for row in self.router])
        offsets = torch.cat([row.bias for row in self.router])
        return F.linear(pooled, rows, offsets).softmax(dim=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states ``(N, L, d)`` to what is added beside the MLP, ``(N, L, d)``."""
        if len(self.adapters) == 1:
            return self.adapters[0](hidden)
        weights = self.shares(hidden.mean(1))  # (N, K)
        # One wide adapter: its cost is two products, whatever the number of adapters.
        down = torch.cat([one.down.weight for one in self.adapters])  # (K h, d)
        shift = torch.cat([one.down.bias for one in self.adapters])
        inner = F.relu(F.linear(hidden, down, shift))  # (N, L, K h)
        inner = inner * weights.repeat_interleave(self.hidden, dim=1)[:, None]
        up = torch.cat([one.up.weight for one in self.adapters], dim=1)  # (d, K h)
        offset = weights @ torch.stack([one.up.bias for one in self.adapters])
        return F.linear(inner, up) + offset[:, None]

    @torch.no_grad()
    def surprise(self, pooled: Tensor) -> float:
        """Tell how unlike all known inputs a batch is: the least mean ``|z|`` (Sec. 3.4)."""
        return min(float(one.deviation(pooled).mean()) for one in self.descriptors)
