"""Merged inference against the plain backbone; all seen tasks against one forward pass.

    python experiments/benchmark_inference.py --json experiments/results/speed/inference.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from timing import interleave, machine, ratio, save, show
from torch.utils.data import ConcatDataset, DataLoader

from avalanche_ham import HAMStrategy, create_benchmark, create_model
from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.benchmarks.class_incremental import class_incremental
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.evaluation.accuracy import accuracy_row


def made_up_stream(tasks: int, per_class: int, size: int):
    """One class a task, random images."""
    classes = [str(c) for c in range(tasks)]
    targets = [c for c in range(tasks) for _ in range(per_class)]
    images = torch.randint(0, 256, (len(targets), 3, size, size), dtype=torch.uint8)
    data = ImageSet(images, targets=targets, classes=classes)
    return class_incremental(data, data, n_tasks=tasks, seed=0, name="made up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    digits = create_benchmark("digits", data_root=".", n_tasks=5, seed=1)
    model = create_model(options.backbone, n_classes=max(10, options.tasks))
    ham = HAMStrategy(
        model=model, steps=1, train_mb_size=4, eval_mb_size=options.batch, evaluator=None
    )
    ham.train(digits.train_stream, eval_streams=[])
    plain = create_backbone(options.backbone)
    for block in plain.blocks:
        block.attn.fused_attn = model.encoder.vit.blocks[0].attn.fused_attn
    size = plain.patch_embed.img_size
    images = torch.randn(options.batch, 3, *size)
    stream = list(made_up_stream(options.tasks, options.per_class, size[0]).test_stream)
    everything = ConcatDataset([e.dataset for e in stream])
    model.eval()

    @torch.inference_mode()
    def plain_timm() -> None:
        plain(images)

    @torch.inference_mode()
    def merged() -> None:
        model.encoder.vit(images)

    @torch.no_grad()
    def one_pass() -> None:
        for batch, _ in DataLoader(everything, options.batch):
            model(batch)

    with ham.evaluation_weights():
        seconds = interleave(
            {"plain timm": plain_timm, "merged": merged}, rounds=3 * options.rounds
        )
        seconds |= interleave(
            {"one pass": one_pass, "all tasks": lambda: accuracy_row(ham, stream)},
            rounds=options.rounds,
        )
    results = {
        **machine("cpu"),
        "merged / plain timm": ratio(seconds, "merged", "plain timm"),
        "all seen tasks / one pass": ratio(seconds, "all tasks", "one pass"),
    }
    show("merged inference / plain timm", results["merged / plain timm"], "target 1.01")
    show(
        f"evaluation of {options.tasks} tasks / one forward pass",
        results["all seen tasks / one pass"],
        "target 1.05",
    )
    save(options.json, results)


if __name__ == "__main__":
    main()
