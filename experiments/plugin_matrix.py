"""Run Avalanche's plugins and metrics with 15 methods; write what works and what says why not.

Command: python plugin_matrix.py        (five minutes; writes ../docs/avalanche.md)

A plugin works where its strength changes what is learned: every cell trains three tasks of digits
on the tiny backbone twice, once with the plugin and once with it at strength 0, or without it where
it has no strength. A metric works where it reports a number.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.evaluation import metrics
from avalanche.training import plugins
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import Naive
from torch import nn
from torch.utils.data import Dataset

from avalanche_ham import create_model
from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.runs.settings import build_strategy, resolve

NAIVE = "Naive, MLP"  # Avalanche alone: tells its own limits from ours
METHODS = (
    NAIVE, "ham", "lora", "sema", "l2p", "inflora", "slao", "pam", "moe_lora",
    "o_lora", "i_lora", "magmax", "pm", "lora_er", "independent", "fsa",
)  # fmt: skip
PAGE = Path(__file__).parents[1] / "docs" / "avalanche.md"
MARK = "<!-- from here on: python experiments/plugin_matrix.py -->"
SMALL = {"rank": 4, "lr": 1e-2, "steps": 6, "batch_size": 8, "eval_batch_size": 32}
OPTIONS = {"sema": {"threshold": 0.0, "descriptor_steps": 2}}  # each task expands
N_TASKS = 3


class Plugin(NamedTuple):
    """A plugin of an optimiser, the same without effect (None: nothing), and what it needs."""

    make: Callable[[Any], Any]
    idle: Callable[[Any], Any] | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    labels: bool = False  # task labels in the benchmark


def early_stopping(optimizer: Any) -> Any:
    """Stop at once: the least accuracy counts as best, and the first one is not beaten."""
    return plugins.EarlyStoppingPlugin(1, "test_stream", mode="min", margin=1.0)


def step_down(optimizer: Any) -> Any:
    """Divide the rate by two after each epoch."""
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    return plugins.LRSchedulerPlugin(scheduler, reset_lr=False, reset_scheduler=False)


SEEN = {"scope": "seen"}
EPOCHS = {"steps": None, "epochs": 3}
PLUGINS = {
    "EWCPlugin, separate": Plugin(
        lambda _: plugins.EWCPlugin(1e4), lambda _: plugins.EWCPlugin(0.0)
    ),
    "EWCPlugin, online": Plugin(
        lambda _: plugins.EWCPlugin(1e4, mode="online", decay_factor=0.5),
        lambda _: plugins.EWCPlugin(0.0, mode="online", decay_factor=0.5),
    ),
    "SynapticIntelligencePlugin": Plugin(
        lambda _: plugins.SynapticIntelligencePlugin(1e4),
        lambda _: plugins.SynapticIntelligencePlugin(0.0),
    ),
    "MASPlugin": Plugin(lambda _: plugins.MASPlugin(1e4), lambda _: plugins.MASPlugin(0.0)),
    "RWalkPlugin": Plugin(
        lambda _: plugins.RWalkPlugin(1e4, delta_t=2), lambda _: plugins.RWalkPlugin(0.0, delta_t=2)
    ),
    "LwFPlugin": Plugin(
        lambda _: plugins.LwFPlugin(10.0), lambda _: plugins.LwFPlugin(0.0), SEEN, labels=True
    ),
    "GEMPlugin": Plugin(lambda _: plugins.GEMPlugin(8, 0.5), None, SEEN),
    "AGEMPlugin": Plugin(lambda _: plugins.AGEMPlugin(8, 8), None, SEEN),
    "ReplayPlugin": Plugin(lambda _: plugins.ReplayPlugin(20), None, SEEN),
    "MIRPlugin": Plugin(lambda _: plugins.MIRPlugin(4, mem_size=20), None, SEEN, labels=True),
    "LRSchedulerPlugin": Plugin(step_down, None, EPOCHS),
    "EarlyStoppingPlugin": Plugin(early_stopping, None, EPOCHS),
}
EACH = {"experience": True, "stream": True}
METRICS = {
    "accuracy": lambda: metrics.accuracy_metrics(minibatch=True, epoch=True, **EACH),
    "loss": lambda: metrics.loss_metrics(minibatch=True, epoch=True, **EACH),
    "forgetting": lambda: metrics.forgetting_metrics(**EACH),
    "bwt": lambda: metrics.bwt_metrics(**EACH),
    "forward_transfer": lambda: metrics.forward_transfer_metrics(**EACH),
    "topk_acc": lambda: metrics.topk_acc_metrics(top_k=2, **EACH),
    "class_accuracy": lambda: metrics.class_accuracy_metrics(**EACH),
    "amca": metrics.amca_metrics,
    "accuracy_matrix": metrics.accuracy_matrix_metrics,
    "confusion_matrix": lambda: metrics.confusion_matrix_metrics(
        num_classes=10, save_image=False, stream=True
    ),
    "labels_repartition": metrics.labels_repartition_metrics,
    "mean_scores": metrics.mean_scores_metrics,
    "images_samples": lambda: metrics.images_samples_metrics(n_rows=1, n_cols=2),
    "timing": lambda: metrics.timing_metrics(epoch=True, **EACH),
    "cpu_usage": lambda: metrics.cpu_usage_metrics(**EACH),
    "ram_usage": lambda: metrics.ram_usage_metrics(every=0.1, **EACH),
    "disk_usage": lambda: metrics.disk_usage_metrics(**EACH),
    "MAC": lambda: metrics.MAC_metrics(experience=True),
}
LABELLED = {"class_accuracy", "amca", "labels_repartition", "images_samples", "topk_acc"}


class Pictures(Dataset):
    """The digits of a stream but the nines, as a plain data set of three times three classes."""

    def __init__(self, experiences: Any) -> None:
        rows = [r for experience in experiences for r in experience.dataset if int(r[1]) < 9]
        self.images = [row[0] for row in rows]
        self.targets = [int(row[1]) for row in rows]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], self.targets[index]


def stream(labels: bool) -> Any:
    """Give a benchmark of three tasks: ours, or Avalanche's own kind, which has task labels."""
    options = {"n_tasks": N_TASKS, "seed": 1, "train_per_class": 8, "test_per_class": 4}
    ours = create_benchmark("digits", data_root=".", **options)
    if not labels:
        return ours
    sets = (Pictures(experiences) for experiences in (ours.train_stream, ours.test_stream))
    return nc_benchmark(*sets, n_experiences=N_TASKS, task_labels=False, seed=1)


def mlp() -> nn.Module:
    """A small network for Avalanche's own strategy."""
    torch.manual_seed(1)
    layers = (nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10))
    return nn.Sequential(Scaled(), *layers)


class Scaled(nn.Module):
    """Bytes to numbers in [0, 1]."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float() / 255


def train(
    method: str, make: Any, options: Mapping[str, Any], data: Any, *metric: Any, every: bool = False
) -> Any:
    """Train a method with a plugin and metrics; gives the strategy and the last results."""
    evaluator = EvaluationPlugin(*(metric or [metrics.accuracy_metrics(stream=True)]), loggers=[])
    model = mlp() if method == NAIVE else create_model("tiny", n_classes=10)
    first = model.parameters() if method == NAIVE else [nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.AdamW(first, lr=SMALL["lr"])
    common: dict[str, Any] = {
        "model": model,
        "optimizer": optimizer,
        "plugins": [] if make is None else [make(optimizer)],
        "evaluator": evaluator,
        "eval_every": 1 if every else -1,
    }
    if method == NAIVE:
        strategy = Naive(train_epochs=options.get("epochs", 1), train_mb_size=8, **common)
    else:
        values = resolve(method, SMALL, {**OPTIONS.get(method, {}), **options})
        strategy = build_strategy(method, values, seed=1, **common)
    torch.manual_seed(1)
    for experience in data.train_stream:
        strategy.train(experience, eval_streams=[data.test_stream])
    strategy.eval(data.test_stream)
    return strategy


def weights(strategy: Any) -> torch.Tensor:
    """Everything that was learned, as evaluation uses it."""
    plain = isinstance(strategy, Naive)
    with contextlib.nullcontext() if plain else strategy.evaluation_weights():
        return torch.cat([t.detach().flatten() for t in strategy.model.state_dict().values()])


def plugin_cell(name: str, method: str) -> str:
    """Say ``works``, ``no effect`` with the line that is warned, or what was raised."""
    row = PLUGINS[name]
    try:
        every = row.make is early_stopping
        with warnings.catch_warnings(record=True) as warned:
            warnings.filterwarnings("always", ".* has no effect")
            found = train(method, row.make, row.options, stream(row.labels), every=every)
            lines = [one_line(w.message) for w in warned if "has no effect" in str(w.message)]
            plain = train(method, row.idle, row.options, stream(row.labels))
    except Exception as error:
        return one_line(error)
    ours, theirs = weights(found), weights(plain)
    same = ours.shape == theirs.shape and torch.equal(ours, theirs)
    return "; ".join(["no effect" if same else "works", *lines])


def metric_cell(name: str, method: str) -> str:
    """Say ``works``, ``no number``, or what was raised."""
    try:
        every = name == "forward_transfer"
        found = train(method, None, {}, stream(name in LABELLED), METRICS[name](), every=every)
    except Exception as error:
        return one_line(error)
    return "works" if found.evaluator.get_all_metrics() else "no number"


def one_line(error: Exception | Warning | str) -> str:
    """Give an error's type and text, cut to a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def table(title: str, names: Any, cell: Callable[[str, str], str]) -> Iterator[str]:
    """Write a table with a column a method; what was raised stands in notes below it."""
    notes: dict[str, int] = {}
    yield f"| {title} | {' | '.join(METHODS)} |"
    yield "|---" * (len(METHODS) + 1) + "|"
    for name in names:
        cells = []
        for method in METHODS:
            said, _, line = cell(name, method).partition("; ")
            if said not in ("works", "no effect", "no number"):
                said, line = "", "; ".join(filter(None, (said, line)))
            note = f"[{notes.setdefault(line, len(notes) + 1)}]" if line else ""
            cells.append(f"{said} {note}".strip())
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    for said, number in notes.items():
        yield f"{number}. `{said}`"


def page() -> str:
    """Write the page anew, below its mark."""
    lines = [
        PAGE.read_text().partition(MARK)[0] + MARK,
        "",
        "## Plugins",
        "",
        *table("plugin", PLUGINS, plugin_cell),
        "",
        "## Metrics",
        "",
        *table("metrics", METRICS, metric_cell),
    ]
    return "\n".join(lines).strip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter = lambda *a, **k: None  # a deprecation in Avalanche insists
    warnings.filterwarnings("ignore")
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
