"""Merged inference against the plain backbone; all seen tasks against one forward pass.

    python experiments/benchmark_inference.py --json experiments/results/speed/inference.json

Also bf16 against fp32: time of merged inference, and accuracy of a short HAM run on all digits
(``--no-accuracy`` leaves the latter out, which takes minutes on a large backbone).
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from timing import interleave, options, ratio, report, show
from torch.utils.data import ConcatDataset, DataLoader

from avalanche_ham import HAMStrategy, create_benchmark, create_model
from avalanche_ham.backbones.encoder import prefer_plain_attention
from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.benchmarks.class_incremental import Benchmark, class_incremental
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.evaluation.accuracy import accuracy_row


def made_up(tasks: int, per_class: int, size: int) -> Benchmark:
    """One class a task, random images."""
    classes = [str(c) for c in range(tasks)]
    targets = [c for c in range(tasks) for _ in range(per_class)]
    images = torch.randint(0, 256, (len(targets), 3, size, size), dtype=torch.uint8)
    data = ImageSet(images, targets=targets, classes=classes)
    return class_incremental(data, data, n_tasks=tasks, seed=0, name="made up")


def is_here(chosen: argparse.Namespace) -> bool:
    """Whether the weights need no download; speed does not depend on them, accuracy does."""
    return chosen.backbone == "embedded"


def train_ham(chosen: argparse.Namespace, digits: Benchmark) -> HAMStrategy:
    """Train HAM on five tasks, so that there is something to merge."""
    ham = HAMStrategy(
        model=create_model(
            chosen.backbone, n_classes=max(10, chosen.tasks), pretrained=is_here(chosen)
        ),
        steps=chosen.steps,
        lr=1e-3,
        train_mb_size=chosen.batch // 4,
        eval_mb_size=chosen.batch,
        device=chosen.device,
        precision=chosen.precision,
        evaluator=None,
    )
    ham.train(digits.train_stream, eval_streams=[])
    ham.model.eval()
    return ham


def time_all(chosen: argparse.Namespace, ham: HAMStrategy) -> dict[str, list[float]]:
    """Time every pass over images; call it under merged weights."""
    plain = create_backbone(chosen.backbone, pretrained=is_here(chosen)).to(chosen.device)
    prefer_plain_attention(plain)
    size = plain.patch_embed.img_size
    images = torch.randn(chosen.batch, 3, *size, device=chosen.device)
    stream = list(made_up(chosen.tasks, chosen.per_class, size[0]).test_stream)
    everything = ConcatDataset([experience.dataset for experience in stream])

    def once(vit: torch.nn.Module, precision: str) -> None:
        on = precision == "bf16"
        with torch.no_grad(), torch.autocast(chosen.device, torch.bfloat16, enabled=on):
            vit.forward_head(vit.forward_features(images))

    @torch.no_grad()
    def one_pass() -> None:
        for batch, *_ in DataLoader(everything, chosen.batch):
            with ham.autocast():
                ham.model(batch.to(chosen.device))

    short = {
        "plain timm": lambda: once(plain, chosen.precision),
        "merged": lambda: once(ham.model.encoder.vit, chosen.precision),
        "fp32": lambda: once(ham.model.encoder.vit, "fp32"),
        "bf16": lambda: once(ham.model.encoder.vit, "bf16"),
    }
    long = {"one pass": one_pass, "all tasks": lambda: accuracy_row(ham, stream)}
    return {
        **interleave(short, rounds=3 * chosen.rounds),
        **interleave(long, rounds=chosen.rounds),
    }


def accuracy(ham: HAMStrategy, digits: Benchmark, precision: str) -> float:
    """Percent of all digits, training images included, that are classified rightly."""
    ham.precision = precision
    row = accuracy_row(ham, [*digits.train_stream, *digits.test_stream])
    right = sum(a * n for a, n in zip(row.accuracy, row.images, strict=True))
    return 100 * right / sum(row.images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-accuracy", action="store_true")
    chosen = options(parser, batch=64, rounds=9)
    digits = create_benchmark("digits", data_root=".", n_tasks=5, seed=1)
    ham = train_ham(chosen, digits)
    with ham.evaluation_weights():
        seconds = time_all(chosen, ham)
        kinds = () if chosen.no_accuracy else ("fp32", "bf16")
        percent = {kind: accuracy(ham, digits, kind) for kind in kinds}
    results: dict[str, Any] = {
        "merged / plain timm": ratio(seconds, "merged", "plain timm"),
        "all seen tasks / one pass": ratio(seconds, "all tasks", "one pass"),
        "bf16 / fp32": ratio(seconds, "bf16", "fp32"),
        "accuracy": percent,
    }
    show("merged inference / plain timm", results["merged / plain timm"], "target 1.01")
    title = f"evaluation of {chosen.tasks} tasks / one forward pass"
    show(title, results["all seen tasks / one pass"], "target 1.05")
    show("merged inference, bf16 / fp32", results["bf16 / fp32"])
    for kind, value in percent.items():
        print(f"accuracy on digits, {kind}: {value:.2f} %")
    report(chosen, results)


if __name__ == "__main__":
    main()
