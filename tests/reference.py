"""Slow oracles: plain loops, each written from its equation, and peft itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avalanche_ham.adapters.low_rank import LowRank

SIZES = {"first": (6, 8), "second": (10, 6)}  # layer -> (i, o) of TwoLayers


class TwoLayers(nn.Module):
    """The smallest network with two differently shaped layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(*SIZES["first"])
        self.second = nn.Linear(*SIZES["second"])


def random_update(seed: int, rank: int = 4, dtype=torch.float64) -> dict[str, LowRank]:
    """A random change of both layers of TwoLayers."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return {name: LowRank(draw(rank, i), draw(o, rank)) for name, (i, o) in SIZES.items()}


def wide_change(outputs: int, inputs: int, rank: int, slots, seed: int) -> LowRank:
    """A random change of a fused qkv, block by block as ``LowRankBranch`` places its slots."""
    draw = torch.Generator().manual_seed(seed)
    height, a, b = outputs // 3, [], torch.zeros(outputs, rank * len(slots), dtype=torch.float64)
    for k, slot in enumerate(slots):
        a.append(torch.randn(rank, inputs, generator=draw, dtype=torch.float64))
        block = torch.randn(height, rank, generator=draw, dtype=torch.float64)
        top = "qkv".index(slot) * height
        b[top : top + height, k * rank : (k + 1) * rank] = block
    return LowRank(torch.cat(a), b)


def slot_of(change: LowRank, slots, slot: str) -> LowRank:
    """Cut one slot's own factors out of such a change."""
    height, rank, k = len(change.b) // 3, change.rank // len(slots), tuple(slots).index(slot)
    top, columns = "qkv".index(slot) * height, slice(k * rank, (k + 1) * rank)
    return LowRank(change.a[columns], change.b[top : top + height, columns])


def product(change: LowRank) -> list[list[float]]:
    """Eq. 1: entry (p, q) of B A is sum_k B[p][k] A[k][q]."""
    a, b = change.a.tolist(), change.b.tolist()
    ranks, columns = range(len(a)), range(len(a[0]))
    return [[sum(row[k] * a[k][q] for k in ranks) for q in columns] for row in b]


def cosine(x: Sequence[Sequence[float]], y: Sequence[Sequence[float]]) -> float:
    """Eq. 3: the cosine of two vectorised matrices."""
    u = [value for row in x for value in row]
    v = [value for row in y for value in row]
    dot = sum(p * q for p, q in zip(u, v))
    return dot / math.sqrt(sum(p * p for p in u)) / math.sqrt(sum(q * q for q in v))


def keep_top(values: Sequence[float], count: int) -> list[float]:
    """Eq. 5: the largest magnitudes stay; of equal ones those that come first."""
    order = sorted(range(len(values)), key=lambda p: (-abs(values[p]), p))
    kept = set(order[:count])
    return [value if p in kept else 0.0 for p, value in enumerate(values)]


def linear(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Task arithmetic (arXiv 2212.04089, Sec. 2): the weighted sum, entry by entry."""
    rows = [tensor.flatten().tolist() for tensor in tensors]
    merged = [sum(w * v for w, v in zip(weights, entry)) for entry in zip(*rows)]
    return torch.tensor(merged, dtype=tensors[0].dtype).view_as(tensors[0])


def ties(
    tensors: Sequence[Tensor],
    weights: Sequence[float],
    density: float,
    majority: str = "total",
) -> Tensor:
    """TIES (arXiv 2306.01708, Algorithm 1), entry by entry."""
    count = int(density * tensors[0].numel())
    rows = [keep_top(tensor.flatten().tolist(), count) for tensor in tensors]
    merged = []
    for entry in zip(*rows):
        ballots = [math.copysign(v != 0, v) if majority != "total" else v for v in entry]
        elected = 1 if sum(ballots) >= 0 else -1
        agreeing = [w * v for w, v in zip(weights, entry) if v * elected > 0]
        merged.append(sum(agreeing) / max(len(agreeing), 1))
    return torch.tensor(merged, dtype=tensors[0].dtype).view_as(tensors[0])


def magmax(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """MagMax (arXiv 2407.06322): the largest magnitude, the later one of equals."""
    merged = []
    for entry in zip(*(tensor.flatten().tolist() for tensor in tensors)):
        best = 0.0
        for w, v in zip(weights, entry):
            best = w * v if abs(w * v) >= abs(best) else best
        merged.append(best)
    return torch.tensor(merged, dtype=tensors[0].dtype).view_as(tensors[0])


def tall_masks(tensors: Sequence[Tensor], threshold: float) -> list[list[bool]]:
    """TALL (arXiv 2405.07813): |tau_t| > lambda |tau_MT - tau_t|, task by task, entry by entry."""
    rows = [tensor.flatten().tolist() for tensor in tensors]
    total = [sum(entry) for entry in zip(*rows)]
    return [[abs(v) > threshold * abs(s - v) for v, s in zip(row, total)] for row in rows]


def tall(
    tensors: Sequence[Tensor], weights: Sequence[float], threshold: float, least: int
) -> Tensor:
    """Consensus: the sum, where at least so many masks are set."""
    weighted = [w * tensor for w, tensor in zip(weights, tensors)]
    rows = [tensor.flatten().tolist() for tensor in weighted]
    votes = [sum(entry) for entry in zip(*tall_masks(weighted, threshold))]
    merged = [sum(entry) if n >= least else 0.0 for entry, n in zip(zip(*rows), votes)]
    return torch.tensor(merged, dtype=tensors[0].dtype).view_as(tensors[0])


def tall_of_two(u: Tensor, v: Tensor, threshold: float) -> Tensor:
    """PAM's continual form: half of u + v where |u| and |v| are within 1/lambda of each other."""
    near = [
        abs(y) > threshold * abs(x) and abs(x) > threshold * abs(y)
        for x, y in zip(u.flatten().tolist(), v.flatten().tolist())
    ]
    return torch.where(torch.tensor(near).view_as(u), (u + v) / 2, torch.zeros_like(u))


def ties_of_two(u: Tensor, v: Tensor, density: float) -> Tensor:
    """PAM's continual form: of equal signs the mean, of opposite ones the larger, of one itself."""
    count, merged = int(density * u.numel()), []
    rows = [keep_top(tensor.flatten().tolist(), count) for tensor in (u, v)]
    for x, y in zip(*rows):
        if x * y > 0:
            merged.append((x + y) / 2)
        else:
            merged.append(x if abs(x) > abs(y) else y)
    return torch.tensor(merged, dtype=u.dtype).view_as(u)


def merge_with_peft(
    updates: Sequence[dict[str, LowRank]],
    weights: Sequence[float],
    kind: str,
    **options,
) -> dict[str, LowRank]:
    """What peft's ``add_weighted_adapter`` makes of the updates, at LoRA scale 1."""
    from peft import LoraConfig, get_peft_model

    rank = updates[0]["first"].rank
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(SIZES))
    names = [f"task{number}" for number in range(len(updates))]
    model = get_peft_model(TwoLayers(), config, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    layers = {name: model.get_submodule(f"base_model.model.{name}") for name in SIZES}
    for name, update in zip(names, updates):
        for layer, change in update.items():
            layers[layer].lora_A[name].weight.data = change.a.clone()
            layers[layer].lora_B[name].weight.data = change.b.clone()
    model.base_model.add_weighted_adapter(names, list(weights), "merged", kind, **options)
    return {
        name: LowRank(
            layer.lora_A["merged"].weight.detach(),
            layer.lora_B["merged"].weight.detach(),
        )
        for name, layer in layers.items()
    }


def average_accuracy(a: Sequence[Sequence[float]]) -> float:
    """The mean of the last row, in percent."""
    return 100 * sum(a[-1]) / len(a)


def forgetting(a: Sequence[Sequence[float]]) -> float:
    """The mean over j < T of (best of rows j to T - 1) - (last row), in percent."""
    total, last = 0.0, len(a) - 1
    for j in range(last):
        peak = a[j][j]
        for t in range(j, last):
            peak = max(peak, a[t][j])
        total += peak - a[last][j]
    return 100 * total / last


def backward_transfer(a: Sequence[Sequence[float]]) -> float:
    """The mean over j < T of (last row) - (diagonal), in percent."""
    last = len(a) - 1
    return 100 * sum(a[last][j] - a[j][j] for j in range(last)) / last


def average_anytime_accuracy(a: Sequence[Sequence[float]]) -> float:
    """The mean over t of the mean of row t up to its diagonal, in percent."""
    means = [sum(row[: t + 1]) / (t + 1) for t, row in enumerate(a)]
    return 100 * sum(means) / len(means)
