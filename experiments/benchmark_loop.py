"""Overhead of the strategy's loop over a bare PyTorch loop, and of metrics.

    python experiments/benchmark_loop.py --json experiments/results/speed/loop.json

Same model, data, batch size and optimiser; one experience of ``--steps`` steps per turn, in turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
from avalanche.training.plugins import EvaluationPlugin
from timing import interleave, machine, ratio, save, show
from torch.nn import functional as F
from torch.utils.data import DataLoader

from avalanche_ham import SequentialStrategy, create_benchmark, create_model


def bare_loop(model: Any, dataset: Any, steps: int, batch: int) -> None:
    """The loop that anybody would write."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    model.train()
    done = 0
    while done < steps:
        for images, targets in DataLoader(dataset, batch, shuffle=True):
            optimizer.zero_grad()
            current = torch.tensor(model.head.current)
            logits = model(images)[:, current]
            loss = F.cross_entropy(logits, torch.searchsorted(current, targets))
            loss.backward()
            optimizer.step()
            done += 1
            if done == steps:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    benchmark = create_benchmark("digits", data_root=".", n_tasks=2, seed=1)
    experience = benchmark.train_stream[0]

    def strategy(*metrics: Any) -> SequentialStrategy:
        model = create_model(options.backbone, n_classes=10)
        return SequentialStrategy(
            model=model,
            trains="lora",
            steps=options.steps,
            train_mb_size=options.batch,
            lr=1e-4,
            evaluator=EvaluationPlugin(*metrics),
        )

    plain = strategy()
    metered = strategy(
        accuracy_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        forgetting_metrics(experience=True, stream=True),
    )
    bare = strategy()
    bare.train(experience, eval_streams=[])
    seconds = interleave(
        {
            "bare": lambda: bare_loop(
                bare.model, experience.dataset, options.steps, options.batch
            ),
            "strategy": lambda: plain.train(experience, eval_streams=[]),
            "with metrics": lambda: metered.train(experience, eval_streams=[]),
        },
        rounds=options.rounds,
    )
    results = {
        **machine("cpu"),
        "strategy / bare": ratio(seconds, "strategy", "bare"),
        "with metrics / strategy": ratio(seconds, "with metrics", "strategy"),
    }
    show("strategy loop / bare loop", results["strategy / bare"], "target 1.05")
    show("accuracy and forgetting / none", results["with metrics / strategy"], "target 1.02")
    save(options.json, results)


if __name__ == "__main__":
    main()
