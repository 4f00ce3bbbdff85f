"""The numbers of one tiny run of a method: what its version stands for.

Command: python tests/strategies/numbers_of.py        (adds what is missing to numbers.json)
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from avalanche.training.plugins import SupervisedPlugin
from timm.layers import trunc_normal_

from avalanche_ham import create_model
from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.evaluation.accuracy import evaluate
from avalanche_ham.runs.settings import build_strategy, resolve
from avalanche_ham.strategies.registry import METHODS, get_method

STORED = Path(__file__).with_name("numbers.json")
OPTIONS = {"lr": 3e-3, "steps": 4, "batch_size": 8, "rank": 4}


class Losses(SupervisedPlugin):
    """Keep the loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        self.seen.append(float(strategy.loss.detach()))


def numbers_of(method: str) -> dict[str, list[float]]:
    """Train two tasks of digits on the tiny ViT, all in float64.

    Heads start from timm's draws, which all its versions share; torch's own have changed.

    Returns:
        ``losses`` of all steps, and ``right``, how many test images of each task are told right in
        the end by each of three heads.
    """
    row = get_method(method)
    heads = [row.head] if row.head else ["linear", "ncm", "ridge"]
    data = create_benchmark(
        "digits", data_root=".", n_tasks=2, seed=1, train_per_class=8, test_per_class=20
    )
    losses = Losses()
    model = create_model("tiny", n_classes=10, head=",".join(heads), seed=1).double()
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings(), mock.patch("torch.nn.init.trunc_normal_", trunc_normal_):
            warnings.simplefilter("ignore")  # an evaluator without loggers is meant
            strategy = build_strategy(
                method,
                resolve(method, OPTIONS, {}),
                model=model,
                seed=1,
                evaluator=None,
                plugins=[losses],
            )
            for experience in data.train_stream:
                strategy.train(experience, eval_streams=[])
            rows = evaluate(strategy, list(data.test_stream), heads)
    finally:
        torch.set_default_dtype(torch.float32)
    right = [round(a * n) for row in rows.values() for a, n in zip(row.accuracy, row.images)]
    return {"losses": losses.seen, "right": right}


def main() -> int:
    """Add the numbers of versions that have none; stored ones are never changed."""
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    for name, method in METHODS.items():
        versions = stored.setdefault(name, {})
        if str(method.numbers) not in versions:
            versions[str(method.numbers)] = numbers_of(name)
    STORED.write_text(json.dumps(stored, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
