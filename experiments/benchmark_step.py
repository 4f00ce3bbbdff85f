"""Cost of a training step over the number of tasks, and memory of what a method keeps.

    python experiments/benchmark_step.py --json experiments/results/speed/step_embedded.json
    python experiments/benchmark_step.py --backbone vit_base_patch16_224 --batch 2 --rounds 5

Every candidate takes one step (forward, backward, AdamW) a round on the same batch; printed are
ratios to a plain rank-16 LoRA step of the same round, the state in MB, and the growth over tasks.
``ham``, ``sd_lora``, ``inflora``, ``o_lora`` are the package's adapted linear; ``ham_naive`` and
``sd_lora_loop`` are the loops of ``slow_layers.py``. ``floor`` is the time that a step's matrix
products take at the rate of one large product on the same machine.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from slow_layers import GROUPS, LoopedLinear, looped_ham, looped_sd_lora, made_up_history
from timing import interleave, options, ratio, report, show
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from avalanche_ham.adapters import AdaptedLinear, AdapterSet, LowRankTerms, low_rank_branches
from avalanche_ham.adapters.direction import direction
from avalanche_ham.backbones.model import prefer_plain_attention
from avalanche_ham.backbones.vit import create_backbone

KINDS = ("ham", "inflora", "o_lora", "sd_lora", "sd_lora_loop", "ham_naive")


def candidate(vit: nn.Module, kind: str, tasks: int, rank: int) -> nn.Module:
    """Copy the backbone and adapt it as the method does while it trains task ``tasks``."""
    vit = copy.deepcopy(vit, {id(p): p for p in vit.parameters()})  # shares the weights
    torch.manual_seed(tasks)
    slots = kind.startswith("sd_lora")
    history = made_up_history(vit, tasks - 1, rank, slots=slots)
    if kind in ("lora", "ham_naive"):
        return looped_ham(vit, history, rank)
    if kind == "sd_lora_loop":
        return looped_sd_lora(vit, history, rank)
    adapters = AdapterSet(vit, ("attn.qkv",), *([LowRankTerms] if slots else []))
    for task, update in enumerate(history):
        joins = {"ham": task % GROUPS if task >= GROUPS else None, "sd_lora": None}
        fixed = direction(update, pairs=2, form="code") if slots else update
        adapters.add(fixed, scale=1.0, to=joins.get(kind, 0 if task else None))
    branch: dict[str, Any] = {"sd_lora": {"slots": ("q", "v")}}.get(kind, {})
    if kind == "inflora":
        branch = {"slots": ("k", "v"), "shared_input": True, "train_input": False}
    trained = kind in ("ham", "sd_lora")
    adapters.open(low_rank_branches(rank, **branch), train_scales=trained)
    vit.adapters = adapters
    if kind == "o_lora":
        vit.old_inputs = {n: torch.cat([u[n].a for u in history]) for n in history[0]}
    return vit


def overlap(vit: nn.Module) -> Tensor | float:
    """O-LoRA's penalty: the old adapters' inputs times the new one's."""
    old = getattr(vit, "old_inputs", {})
    return sum((a @ vit.get_submodule(n).branch.a.T).abs().sum() for n, a in old.items())


def stepper(vit: nn.Module, images: Tensor, precision: str) -> Callable[[], None]:
    """Make a function that takes one training step."""
    head = nn.Linear(vit.num_features, 10).to(images.device)
    trained = [p for p in (*vit.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    targets = torch.arange(len(images), device=images.device) % 10
    enabled = precision == "bf16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=enabled):
            features = vit.forward_head(vit.forward_features(images), pre_logits=True)
            loss = F.cross_entropy(head(features).float(), targets)
        (loss + overlap(vit)).backward()
        optimizer.step()

    return step


def state_bytes(vit: nn.Module) -> int:
    """Bytes that a method keeps on the device beside backbone, branch and optimiser."""
    kept = list(getattr(vit, "old_inputs", {}).values())
    for module in vit.modules():
        if isinstance(module, LoopedLinear):
            kept += [t for term in module.terms for pair in term for t in pair]
        elif isinstance(module, AdaptedLinear):
            kept += [*module.terms.buffers(), *([module.fixed] * (module.fixed is not None))]
    return sum(t.numel() * t.element_size() for t in kept)


def backbone_and_batch(chosen: argparse.Namespace) -> tuple[nn.Module, Tensor]:
    """Make the backbone and a batch; a frozen stem's output is computed once per image."""
    vit = create_backbone(chosen.backbone, pretrained=False).to(chosen.device)
    prefer_plain_attention(vit)
    images = torch.randn(chosen.batch, 3, *vit.patch_embed.img_size, device=chosen.device)
    stem = getattr(vit.patch_embed, "backbone", None)
    with torch.no_grad():
        return vit, images if stem is None else stem(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tasks", default="2,10,20,50,100")
    chosen = options(parser, batch=16, rounds=15)
    vit, images = backbone_and_batch(chosen)
    counts = [int(n) for n in chosen.tasks.split(",")]
    models = {"lora": candidate(vit, "lora", 1, chosen.rank)}
    models |= {f"{k} {n}": candidate(vit, k, n, chosen.rank) for n in counts for k in KINDS}
    steps = {name: stepper(m, images, chosen.precision) for name, m in models.items()}
    with FlopCounterMode(display=False) as counter:
        steps["lora"]()
    dtype = torch.bfloat16 if chosen.precision == "bf16" else torch.float32
    square = torch.randn(1024, 1024, device=chosen.device, dtype=dtype)
    seconds = interleave({**steps, "product": lambda: square @ square}, rounds=chosen.rounds)
    product = sorted(seconds["product"])[chosen.rounds // 2]
    floor = counter.get_total_flops() * product / (2 * 1024**3)
    results: dict[str, Any] = {"floor_seconds": floor, "steps": {}}
    for name in steps:
        entry = ratio(seconds, name, "lora")
        entry["state_mb"] = state_bytes(models[name]) / 2**20
        entry["seconds"] = sorted(seconds[name])[chosen.rounds // 2]
        results["steps"][name] = entry
        show(f"{name} / lora", entry, f"state {entry['state_mb']:.1f} MB")
    for kind in KINDS:
        growth = ratio(seconds, f"{kind} {counts[-1]}", f"{kind} {counts[0]}")
        results[f"growth {kind}"] = growth
        kept = [results["steps"][f"{kind} {n}"]["state_mb"] for n in counts[-1:] + counts[1:2]]
        memory = f"state, task {counts[-1]} / {counts[1]}: {kept[0] / kept[1]:.2f}"
        show(f"{kind}: step, task {counts[-1]} / task {counts[0]}", growth, memory)
    for n in counts:
        results[f"loop / ham {n}"] = ratio(seconds, f"sd_lora_loop {n}", f"ham {n}")
        show(f"loop over all adapters / ham, {n} tasks", results[f"loop / ham {n}"])
    seconds_lora = results["steps"]["lora"]["seconds"]
    print(f"floor {1e3 * floor:.1f} ms, LoRA step {1e3 * seconds_lora:.1f} ms")
    report(chosen, results)


if __name__ == "__main__":
    main()
