"""Overhead of the strategy's loop over a bare PyTorch loop, of metrics, of HAM+ over HAM.

    python experiments/benchmark_loop.py --json experiments/results/speed/loop.json

Same model, data, batch size and optimiser; one experience of ``--steps`` steps per turn.
The bare loop reads its images from a ``TensorDataset``, the strategy from Avalanche's data set.
Images of a hybrid backbone are past its frozen stem for both, as in every run. HAM and HAM+ learn
the experience as task after task; their steps alone are counted. Apart from them, what HAM+'s
readout takes to follow a task (a pass ahead of it, the map) is set beside its feeding (a pass).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from timing import interleave, options, ratio, report, show
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from avalanche_ham import HAMStrategy, SequentialStrategy, create_benchmark, create_model
from avalanche_ham.runs.stem_cache import find_stem, past_stem


def bare_loop(strategy: SequentialStrategy, data: TensorDataset, steps: int) -> None:
    """The loop that anybody would write."""
    model, device = strategy.model, strategy.device
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    current = torch.tensor(model.head.current, device=device)
    model.train()
    done = 0
    while done < steps:
        for images, targets in DataLoader(data, strategy.train_mb_size, shuffle=True):
            images, targets = images.to(device), targets.to(device)
            optimizer.zero_grad()
            with strategy.autocast():
                logits = model(images)[:, current]
            place = torch.searchsorted(current, targets)
            loss = F.cross_entropy(logits.float(), place)
            loss.backward()
            optimizer.step()
            done += 1
            if done == steps:
                break


def make_strategy(chosen: argparse.Namespace, kind: Any, head: str = "linear", **more: Any) -> Any:
    """Make a strategy, alike in all that is not given."""
    return kind(
        model=create_model(chosen.backbone, n_classes=10, head=head, pretrained=False),
        steps=chosen.steps,
        train_mb_size=chosen.batch,
        lr=1e-4,
        device=chosen.device,
        precision=chosen.precision,
        **more,
    )


def one_lora(chosen: argparse.Namespace, *metrics: Any) -> SequentialStrategy:
    evaluator = EvaluationPlugin(*metrics)
    return make_strategy(chosen, SequentialStrategy, trains="lora", evaluator=evaluator)


class StepClock(SupervisedPlugin):
    """Processor seconds of training iterations."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Count from here."""
        self.seconds -= time.process_time()

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Count to here."""
        self.seconds += time.process_time()


def steps_of_ham(chosen: argparse.Namespace, experience: Any) -> dict[str, list[float]]:
    """Give the seconds of the steps of HAM and of HAM+, and of its readout, round by round."""
    plus = {"damping": 0.5, "contrast": 0.1}
    parts: dict[str, tuple[str, Any]] = {"ham": ("linear", {}), "ham_plus": ("lda_drift", plus)}
    clocks = {name: StepClock() for name in parts}
    strategies = {
        name: make_strategy(
            chosen, HAMStrategy, head, plugins=[clocks[name]], evaluator=None, **own
        )
        for name, (head, own) in parts.items()
    }
    readouts = strategies["ham_plus"].readouts
    seconds: dict[str, list[float]] = {name: [] for name in (*parts, "following", "feeding")}
    for _ in range(1 + chosen.rounds):
        for name, strategy in strategies.items():
            clocks[name].seconds = 0.0
            strategy.train(experience, eval_streams=[])
            seconds[name].append(clocks[name].seconds)
        seconds["following"].append(readouts.drift_seconds)
        seconds["feeding"].append(readouts.seconds)
    return {name: measured[1:] for name, measured in seconds.items()}


def first_task(chosen: argparse.Namespace, encoder: torch.nn.Module) -> Any:
    benchmark = create_benchmark("digits", data_root=".", n_tasks=2, seed=1)
    if find_stem(encoder) is not None:
        with tempfile.TemporaryDirectory() as folder:
            return past_stem(benchmark, encoder, Path(folder)).train_stream[0]
    return benchmark.train_stream[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    chosen = options(parser, batch=16, rounds=9)
    bare, plain = one_lora(chosen), one_lora(chosen)
    metered = one_lora(
        chosen,
        accuracy_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        forgetting_metrics(experience=True, stream=True),
    )
    experience = first_task(chosen, bare.model.encoder)
    images, targets = zip(*((x, y) for x, y, *_ in experience.dataset))
    data = TensorDataset(torch.stack(images), torch.tensor(targets))
    bare.train(experience, eval_streams=[])
    seconds = interleave(
        {
            "bare": lambda: bare_loop(bare, data, chosen.steps),
            "strategy": lambda: plain.train(experience, eval_streams=[]),
            "with metrics": lambda: metered.train(experience, eval_streams=[]),
        },
        rounds=chosen.rounds,
    )
    results = {
        "strategy / bare": ratio(seconds, "strategy", "bare"),
        "with metrics / strategy": ratio(seconds, "with metrics", "strategy"),
        "bare seconds per step": sorted(seconds["bare"])[chosen.rounds // 2] / chosen.steps,
    }
    seconds |= steps_of_ham(chosen, experience)
    results["ham_plus / ham"] = ratio(seconds, "ham_plus", "ham")
    results["following / feeding"] = ratio(seconds, "following", "feeding")
    show("strategy loop / bare loop", results["strategy / bare"], "target 1.05")
    show(
        "accuracy and forgetting / none",
        results["with metrics / strategy"],
        "target 1.02",
    )
    show("step of HAM+ / step of HAM", results["ham_plus / ham"], "target 1.01")
    show("lda_drift: following / feeding", results["following / feeding"], "target 1.05")
    report(chosen, results)


if __name__ == "__main__":
    main()
