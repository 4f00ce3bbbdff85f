"""Where the time of a HAM training step goes, by torch.profiler.

    python profile_step.py --tasks 100
    python profile_step.py --backbone vit_base_patch16_224 --batch 2 --rounds 2

Prints the share of each kind of operation in processor time, forward and backward together.
"""

from __future__ import annotations

import argparse

from benchmark_step import backbone_and_batch, stepper
from step_candidates import candidate
from timing import options, report
from torch.profiler import ProfilerActivity, profile

PARTS = {
    "matrix products": ("mm", "convolution"),
    "GELU": ("gelu",),
    "softmax and norms": ("softmax", "layer_norm"),
    "copies and concatenations": ("copy_", "cat", "clone", "contiguous", "fill_"),
    "AdamW": ("adam",),
}


def part_of(operation: str) -> str:
    """Give the kind of an operation by its name."""
    name = operation.lower()
    found = (part for part, words in PARTS.items() if any(w in name for w in words))
    return next(found, "the rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=100)
    chosen = options(parser, batch=16, rounds=10)
    vit, images = backbone_and_batch(chosen)
    model = candidate(vit, "ham", chosen.tasks, chosen.rank)
    step = stepper(model, images, chosen.precision, "ham")
    step()  # allocations of the first one
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(chosen.rounds):
            step()
    shares: dict[str, float] = {}
    for event in found.key_averages():
        part = part_of(event.key)
        shares[part] = shares.get(part, 0.0) + event.self_cpu_time_total
    total = sum(shares.values())
    results = {part: value / total for part, value in shares.items()}
    for part in sorted(results, key=results.__getitem__, reverse=True):
        print(f"{part:28} {100 * results[part]:5.1f} %")
    report(chosen, {"shares": results})


if __name__ == "__main__":
    main()
