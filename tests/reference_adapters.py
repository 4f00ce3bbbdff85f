"""Slow oracles of the adapted layer and the readouts: plain loops, written from the equations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from reference import product
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.adapters import AdapterSet, LowRank, low_rank_branches


class TwoLinears(nn.Module):
    """The smallest network whose two linear layers have different shapes."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(6, 9, bias=bias)
        self.second = nn.Linear(9, 5, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


SHAPES = {"first": (9, 6), "second": (5, 9)}  # layer -> (o, i)


def random_change(shape: tuple[int, int], rank: int, seed: int, dtype=torch.float64) -> LowRank:
    """A random low-rank change of a weight of a shape."""
    generator = torch.Generator().manual_seed(seed)
    o, i = shape
    a = torch.randn(rank, i, generator=generator, dtype=torch.float64)
    b = torch.randn(o, rank, generator=generator, dtype=torch.float64)
    return LowRank(a.to(dtype), b.to(dtype))


def random_update(rank: int, seed: int, dtype=torch.float64) -> dict[str, LowRank]:
    """A random low-rank change of both layers of TwoLinears."""
    return {
        name: random_change(shape, rank, seed + 100 * k, dtype)
        for k, (name, shape) in enumerate(SHAPES.items())
    }


def two_adapted(*, terms: type, dtype=torch.float64, bias: bool = True):
    """TwoLinears with two frozen terms of scales 0.7 and -1.3; network, set and the terms."""
    torch.manual_seed(5)
    network = TwoLinears(bias=bias).to(dtype)
    adapters = AdapterSet(network, ("first", "second"), terms)
    updates = [random_update(rank, seed, dtype) for rank, seed in ((2, 1), (3, 2))]
    for update, scale in zip(updates, (0.7, -1.3), strict=True):
        adapters.add(update, scale=scale)
    return network, adapters, updates


def open_random(adapters: AdapterSet, *, rank: int = 2, scale: float = 0.4, **options) -> None:
    """Open an adapter whose B is not zero."""
    adapters.open(low_rank_branches(rank), scale=scale, **options)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for layer in adapters.layers.values():
            b = layer.branch.b
            b.copy_(torch.randn(b.shape, generator=generator, dtype=torch.float64))


def loop_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, changes: Sequence[tuple[float, LowRank]]
) -> Tensor:
    """Eq. 2 for one vector at a time, factor by factor: W0 x + sum_j alpha_j B_j (A_j x)."""
    out = torch.zeros(len(x), len(weight), dtype=x.dtype)
    for n, vector in enumerate(x):
        for row in range(len(weight)):
            value = sum(float(weight[row, q]) * float(vector[q]) for q in range(len(vector)))
            for alpha, change in changes:
                for k in range(change.rank):
                    inner = sum(
                        float(change.a[k, q]) * float(vector[q]) for q in range(len(vector))
                    )
                    value += alpha * float(change.b[row, k]) * inner
            out[n, row] = value + (0.0 if bias is None else float(bias[row]))
    return out


def dense_weight(weight: Tensor, changes: Sequence[tuple[float, LowRank]]) -> Tensor:
    """Eq. 2 as one weight, entry by entry."""
    total = weight.detach().clone()
    for alpha, change in changes:
        total += alpha * torch.tensor(product(change), dtype=weight.dtype)
    return total


def naive_two_linears(
    network: nn.Module,
    x: Tensor,
    terms: Sequence[dict[str, LowRank]],
    alphas: Sequence[Tensor],
    branch: dict[str, tuple[Tensor, Tensor]],
) -> Tensor:
    """Eq. 2 written out with one matrix product per factor, for autograd to differentiate."""
    h = x
    for name in ("first", "second"):
        layer = getattr(network, name)
        y = F.linear(h, layer.weight.detach(), layer.bias.detach())
        for alpha, term in zip(alphas, terms, strict=False):
            y = y + alpha * (h @ term[name].a.T @ term[name].b.T)
        a, b = branch[name]
        y = y + alphas[-1] * (h @ a.T @ b.T)
        h = torch.tanh(y) if name == "first" else y
    return h
