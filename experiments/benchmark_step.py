"""Cost of a training step over the number of tasks: HAM, SD-LoRA, InfLoRA and naive loops.

    python experiments/benchmark_step.py --json experiments/results/speed/step_embedded.json
    python experiments/benchmark_step.py --backbone vit_base_patch16_224 --batch 4 --rounds 5

Every candidate runs one step (forward, backward, AdamW) a round on the same batch and the same
random backbone weights; printed are ratios to a plain rank-16 LoRA step in the same round.
``ham`` and ``sd_lora`` are the package's own adapted linear; ``ham_naive`` applies each group's
growing factors beside the layer, ``sd_lora_loop`` loops over all old adapters (the released way).
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import torch
from timing import interleave, machine, ratio, save, show
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.adapters import (
    AdapterSet,
    DenseTerms,
    LowRank,
    LowRankTerms,
    low_rank_branches,
)
from avalanche_ham.backbones.model import prefer_plain_attention
from avalanche_ham.backbones.vit import create_backbone

GROUPS = 2


class LoopedLinear(nn.Module):
    """The reference: frozen factors applied one after the other beside the layer."""

    def __init__(self, base: nn.Linear, terms: list[LowRank], rank: int) -> None:
        super().__init__()
        self.base = base
        self.terms = terms
        self.a = nn.Parameter(torch.randn(rank, base.in_features) * base.in_features**-0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scales = nn.Parameter(torch.ones(len(terms) + 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x) + self.scales[-1] * F.linear(F.linear(x, self.a), self.b)
        for scale, (a, b) in zip(self.scales, self.terms):
            y = y + scale * F.linear(F.linear(x, a), b)
        return y


def factors(layer: nn.Linear, rank: int) -> LowRank:
    a = torch.randn(rank, layer.in_features, device=layer.weight.device) * 0.02
    return LowRank(a, torch.randn(layer.out_features, rank, device=layer.weight.device) * 0.02)


def looped(vit: nn.Module, sizes: list[int], rank: int) -> nn.Module:
    """Replace every qkv by a loop over terms of the given ranks."""
    for block in vit.blocks:
        qkv = block.attn.qkv
        block.attn.qkv = LoopedLinear(qkv, [factors(qkv, size) for size in sizes], rank)
    return vit


def adapted(vit: nn.Module, tasks: int, rank: int, kind: str) -> nn.Module:
    """Adapt every qkv with the package's own layers after ``tasks - 1`` finished tasks."""
    terms = LowRankTerms if kind == "sd_lora" else DenseTerms
    adapters = AdapterSet(vit, ("attn.qkv",), terms)
    for task in range(0 if kind == "lora" else tasks - 1):
        update = {name: factors(layer, rank) for name, layer in adapters.layers.items()}
        onto = {"ham": task % GROUPS if task >= GROUPS else None, "sd_lora": None}
        target = onto.get(kind, 0 if task else None)
        adapters.add(update, scale=1.0, to=target)
    adapters.open(low_rank_branches(rank), train_scales=kind in ("ham", "sd_lora"))
    vit.adapters = adapters
    return vit


def candidate(vit: nn.Module, kind: str, tasks: int, rank: int) -> nn.Module:
    vit = copy.deepcopy(vit)
    if kind == "ham_naive":
        members = [(tasks - 1 + g) // GROUPS for g in range(GROUPS)]
        return looped(vit, [n * rank for n in members if n], rank)
    if kind == "sd_lora_loop":
        return looped(vit, [rank] * (tasks - 1), rank)
    return adapted(vit, tasks, rank, kind)


def stepper(vit: nn.Module, images: Tensor, precision: str) -> Any:
    """Make a function that takes one training step."""
    head = nn.Linear(vit.num_features, 10).to(images.device)
    trained = [p for p in (*vit.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    targets = torch.arange(len(images), device=images.device) % 10
    enabled = precision == "bf16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=enabled):
            features = vit.forward_head(vit.forward_features(images), pre_logits=True)
            loss = F.cross_entropy(head(features).float(), targets)
        loss.backward()
        optimizer.step()

    return step


def method_state(vit: nn.Module) -> int:
    """Bytes of frozen terms and trainable adapter on the device."""
    total = 0
    for module in vit.modules():
        if isinstance(module, LoopedLinear):
            total += sum(t.numel() * 4 for pair in module.terms for t in pair)
        elif isinstance(module, (DenseTerms, LowRankTerms)):
            total += sum(t.numel() * t.element_size() for t in module.buffers())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tasks", default="2,10,20,50,100")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    vit = create_backbone(options.backbone, pretrained=False).to(options.device)
    prefer_plain_attention(vit)
    size = vit.patch_embed.img_size
    images = torch.randn(options.batch, 3, *size, device=options.device)
    stem = getattr(vit.patch_embed, "backbone", None)
    if stem is not None:  # its output is computed once per image, not once per step
        with torch.no_grad():
            images = stem(images)
    results: dict[str, Any] = {**machine(options.device), "args": vars(options), "steps": {}}
    kinds = ["ham", "inflora", "sd_lora", "sd_lora_loop", "ham_naive"]
    counts = [int(n) for n in options.tasks.split(",")]
    models = {"lora": candidate(vit, "lora", 1, options.rank)}
    for n in counts:
        models |= {f"{k} {n}": candidate(vit, k, n, options.rank) for k in kinds}
    steps = {name: stepper(m, images, options.precision) for name, m in models.items()}
    seconds = interleave(steps, rounds=options.rounds)
    for name in steps:
        entry = ratio(seconds, name, "lora")
        entry["state_mb"] = method_state(models[name]) / 2**20
        entry["seconds"] = sorted(seconds[name])[len(seconds[name]) // 2]
        results["steps"][name] = entry
        show(f"{name} / lora", entry, f"state {entry['state_mb']:.1f} MB")
    last, first = counts[-1], counts[0]
    for kind in kinds:
        value = ratio(seconds, f"{kind} {last}", f"{kind} {first}")
        show(f"{kind}: task {last} / task {first}", value)
        results[f"{kind} growth"] = value
    for n in counts:
        value = ratio(seconds, f"sd_lora_loop {n}", f"ham {n}")
        show(f"loop over all adapters / ham, {n} tasks", value)
        results[f"loop over ham {n}"] = value
    results["args"]["json"] = None
    save(options.json, results)


if __name__ == "__main__":
    main()
