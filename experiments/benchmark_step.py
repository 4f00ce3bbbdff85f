"""Cost of a training step over the number of tasks, and memory of what a method keeps.

    python benchmark_step.py --json results/speed/step_embedded.json
    python benchmark_step.py --backbone vit_tiny_patch16_224 --size 96 --tasks 2,50,100
    python benchmark_step.py --backbone vit_base_patch16_224 --batch 2 --rounds 5

Every candidate takes one step (forward, backward, AdamW) a round on the same batch; printed are
ratios to a plain rank-16 LoRA step of the same round, the state in MB, and the growth over tasks.
``ham``, ``ham_plus`` (with its contrastive loss), ``slao``, ``pam`` (aligned after every step, more
often than it is), ``inflora``, ``o_lora``, ``sd_lora`` are the package's adapted linear, and with
``lora`` run on its forward, which leaves out the last MLP of tokens that nobody reads. On timm's
forward run ``lora_timm``, ``ham_naive``, ``sd_lora_loop`` (the arithmetic alone) and
``sd_lora_released`` (with its modules), the loops of ``slow_layers.py``. ``floor`` is the time that
a LoRA step's matrix products take at the rate of one large product on the same machine.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from step_candidates import (
    FAST,
    KINDS,
    LOOPS,
    after_step,
    candidate,
    further_loss,
    state_bytes,
)
from timing import interleave, options, ratio, report, show
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from avalanche_ham.backbones.encoder import prefer_plain_attention
from avalanche_ham.backbones.seams import embed, run_blocks, tokens_read
from avalanche_ham.backbones.vit import create_backbone

REFERENCES = ("lora", "lora_timm")


def shortened(vit: nn.Module, images: Tensor) -> Tensor:
    """Give the tokens that are read, as the package's encoder does."""
    return run_blocks(vit, embed(vit, images), keep=tokens_read(vit))


def stepper(vit: nn.Module, images: Tensor, precision: str, kind: str) -> Callable[[], None]:
    """Make a function that takes one training step of a kind, on its forward."""
    forward = shortened if kind in FAST else type(vit).forward_features
    head = nn.Linear(vit.num_features, 10).to(images.device)
    trained = [p for p in (*vit.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    targets = torch.arange(len(images), device=images.device) % 10
    enabled = precision == "bf16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=enabled):
            features = vit.forward_head(forward(vit, images), pre_logits=True)
            loss = F.cross_entropy(head(features).float(), targets)
        (loss + further_loss(vit, kind, features, targets)).backward()
        optimizer.step()
        after_step(vit, kind)

    return step


def backbone_and_batch(
    chosen: argparse.Namespace, size: int | None = None
) -> tuple[nn.Module, Tensor]:
    """Make the backbone and a batch; a frozen stem's output is computed once per image."""
    vit = create_backbone(chosen.backbone, pretrained=False, image_size=size).to(chosen.device)
    prefer_plain_attention(vit)
    images = torch.randn(chosen.batch, 3, *vit.patch_embed.img_size, device=chosen.device)
    stem = getattr(vit.patch_embed, "backbone", None)
    with torch.no_grad():
        return vit, images if stem is None else stem(images)


def summarise(
    seconds: dict[str, list[float]], models: dict[str, nn.Module], counts: list[int]
) -> dict[str, Any]:
    """Print and give every step in LoRA steps, and how it grows with the tasks."""
    steps: dict[str, Any] = {}
    results: dict[str, Any] = {"steps": steps}
    for name, model in models.items():
        entry = ratio(seconds, name, "lora")
        entry["state_mb"] = state_bytes(model) / 2**20
        entry["seconds"] = statistics.median(seconds[name])
        steps[name] = entry
        show(f"{name} / lora", entry, f"state {entry['state_mb']:.1f} MB")
    first, second, last = counts[0], counts[:2][-1], counts[-1]
    kinds = sorted({name.split()[0] for name in models} - {*REFERENCES}, key=KINDS.index)
    for kind in kinds:
        growth = ratio(seconds, f"{kind} {last}", f"{kind} {first}")
        results[f"growth {kind}"] = growth
        big, small = (steps[f"{kind} {n}"]["state_mb"] for n in (last, second))
        memory = f"state, task {last} / {second}: {big / small:.2f}"
        show(f"{kind}: step, task {last} / task {first}", growth, memory)
    for loop in LOOPS if "ham" in kinds else ():
        for n in counts if loop in kinds else ():
            name = f"{loop} / ham {n}"
            results[name] = ratio(seconds, f"{loop} {n}", f"ham {n}")
            show(name, results[name])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tasks", default="2,10,20,50,100")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--size", type=int, help="of the images in pixels; the backbone's own")
    chosen = options(parser, batch=16, rounds=15)
    vit, images = backbone_and_batch(chosen, chosen.size)
    counts = [int(n) for n in chosen.tasks.split(",")]
    names = [f"{kind} {n}" for n in counts for kind in chosen.kinds.split(",")]
    models = {name: candidate(vit, "lora", 1, chosen.rank) for name in REFERENCES}
    for name in names:
        kind, tasks = name.split()
        models[name] = candidate(vit, kind, int(tasks), chosen.rank)
    steps = {
        name: stepper(m, images, chosen.precision, name.split()[0]) for name, m in models.items()
    }
    with FlopCounterMode(display=False) as counter:
        steps["lora"]()
    dtype = torch.bfloat16 if chosen.precision == "bf16" else torch.float32
    square = torch.randn(1024, 1024, device=chosen.device, dtype=dtype)
    product = {"product": lambda: square @ square}
    seconds = interleave({**steps, **product}, rounds=chosen.rounds)
    results = summarise(seconds, models, counts)
    rate = 2 * 1024**3 / statistics.median(seconds["product"])
    results["floor_seconds"] = floor = counter.get_total_flops() / rate
    real = results["steps"]["lora"]["seconds"]
    print(f"LoRA step {1e3 * real:.1f} ms, floor {1e3 * floor:.1f} ms", end="")
    print(f" ({counter.get_total_flops() / 1e9:.2f} GFLOP at {rate / 1e9:.0f} GFLOP/s)")
    report(chosen, results)


if __name__ == "__main__":
    main()
