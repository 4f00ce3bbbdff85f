"""Avalanche's plugins and metrics beside the methods: works, or the line that is raised.

    python experiments/plugin_matrix.py            # writes the tables of docs/avalanche.md

Each cell trains a method on three tasks of noise with the plugin, on a tiny random ViT, and
evaluates it after each task; about a minute on one core. A plugin that has to have another loss
scope than the method's default, ``current``, is tried again with ``seen``.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from avalanche.benchmarks import class_incremental_benchmark, nc_benchmark
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.evaluation import metrics
from avalanche.training import plugins
from avalanche.training.plugins import EvaluationPlugin
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import Dataset

from avalanche_ham import create_model
from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.strategies.registry import strategy_class

METHODS = ("ham", "lora", "inflora", "sema", "l2p")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "avalanche.md"
ALL = {"experience": True, "stream": True}
TRAINED = {"minibatch": True, "epoch": True, "epoch_running": True, **ALL}
MEASURED = {"minibatch": True, "epoch": True, "experience": True, "stream": True}
WORKS = "works"
FIXED = {"sema": {"threshold": 0.1, "hidden": 4}, "inflora": {"rank": 2}, "ham": {"rank": 2}}

PLUGINS: dict[str, Callable[[Any], Any]] = {
    "EWCPlugin, separate": lambda o: plugins.EWCPlugin(1.0),
    "EWCPlugin, online": lambda o: plugins.EWCPlugin(1.0, mode="online", decay_factor=0.5),
    "SynapticIntelligencePlugin": lambda o: plugins.SynapticIntelligencePlugin(1.0),
    "MASPlugin": lambda o: plugins.MASPlugin(),
    "RWalkPlugin": lambda o: plugins.RWalkPlugin(delta_t=2),
    "LwFPlugin": lambda o: plugins.LwFPlugin(),
    "GEMPlugin": lambda o: plugins.GEMPlugin(4, 0.5),
    "AGEMPlugin": lambda o: plugins.AGEMPlugin(4, 4),
    "ReplayPlugin": lambda o: plugins.ReplayPlugin(8),
    "MIRPlugin": lambda o: plugins.MIRPlugin(batch_size_mem=2, mem_size=8, subsample=4),
    "LRSchedulerPlugin": lambda o: plugins.LRSchedulerPlugin(StepLR(o, 1)),
    "EarlyStoppingPlugin": lambda o: plugins.EarlyStoppingPlugin(1, "test_stream"),
}

METRICS: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: metrics.accuracy_metrics(trained_experience=True, **TRAINED),
    "loss": lambda: metrics.loss_metrics(**TRAINED),
    "forgetting": lambda: metrics.forgetting_metrics(**ALL),
    "bwt": lambda: metrics.bwt_metrics(**ALL),
    "forward_transfer": lambda: metrics.forward_transfer_metrics(**ALL),
    "confusion_matrix": lambda: metrics.confusion_matrix_metrics(stream=True),
    "confusion_matrix, save_image=False": lambda: metrics.confusion_matrix_metrics(
        stream=True, save_image=False
    ),
    "timing": lambda: metrics.timing_metrics(**MEASURED),
    "cpu_usage": lambda: metrics.cpu_usage_metrics(**MEASURED),
    "ram_usage": lambda: metrics.ram_usage_metrics(every=0.1, **MEASURED),
    "disk_usage": lambda: metrics.disk_usage_metrics(**MEASURED),
    "MAC": lambda: metrics.MAC_metrics(minibatch=True, epoch=True, experience=True),
    "amca": lambda: metrics.amca_metrics(),
    "class_accuracy": lambda: metrics.class_accuracy_metrics(**TRAINED),
    "topk_acc": lambda: metrics.topk_acc_metrics(top_k=2, **MEASURED),
    "accuracy_matrix": lambda: metrics.accuracy_matrix_metrics(),
    "mean_scores": lambda: metrics.mean_scores_metrics(),
    "labels_repartition": lambda: metrics.labels_repartition_metrics(on_eval=True),
    "images_samples": lambda: metrics.images_samples_metrics(on_eval=True),
    "WeightCheckpoint": lambda: metrics.WeightCheckpoint(),
}


class Noise(Dataset):
    """Six classes of noise, float images."""

    def __init__(self, per_class: int) -> None:
        generator = torch.Generator().manual_seed(per_class)
        self.targets = torch.arange(6).repeat_interleave(per_class).tolist()
        self.images = torch.rand(len(self.targets), 3, 16, 16, generator=generator)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], self.targets[index]


def benchmark(*, task_labels: bool) -> Any:
    """Three experiences of two classes; batches are triples with task labels, else pairs."""
    train, test = Noise(6), Noise(3)
    if task_labels:  # Avalanche's classic kind, where all labels are 0
        return nc_benchmark(train, test, n_experiences=3, task_labels=False, seed=1)
    parts = {"train": as_classification_dataset(train), "test": as_classification_dataset(test)}
    return class_incremental_benchmark(parts, num_experiences=3)


def run(method: str, stream: Any, plugin: Any = None, metric: Any = None, **options: Any) -> Any:
    """Train and evaluate on every experience; gives the strategy."""
    measured = metric() if metric else metrics.accuracy_metrics(stream=True)
    placeholder = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([placeholder], lr=0.01, momentum=0.9)
    strategy = strategy_class(method)(
        model=create_model("tiny", n_classes=6),
        optimizer=optimizer,
        plugins=[plugin(optimizer)] if plugin else [],
        evaluator=EvaluationPlugin(measured, loggers=[]),
        train_mb_size=6,
        train_epochs=2,
        eval_every=1,
        **FIXED.get(method, {}),
        **options,
    )
    strategy.train(stream.train_stream, eval_streams=[stream.test_stream])
    strategy.eval(stream.test_stream)
    return strategy


def outcome(method: str, *, task_labels: bool, **part: Any) -> str:
    """Run a cell; gives ``works``, how it works, or the one line that is raised."""
    stream = benchmark(task_labels=task_labels)
    try:
        run(method, stream, **part)
        return WORKS
    except OptionError as error:
        if error.option != "scope":
            return f"`{error}`"
        run(method, stream, scope="seen", **part)
        return f"works with `scope='seen'` or `'seen_frozen'`; with `'current'`: `{error}`"
    except HamError as error:
        return f"`{error}`"


def plugin_cells(name: str) -> list[str]:
    """Run a plugin with every method, and with HAM on a benchmark without task labels."""
    part = {"plugin": PLUGINS[name]}
    cells = [outcome(method, task_labels=True, **part) for method in METHODS]
    return [*cells, outcome("ham", task_labels=False, **part)]


def metric_cells(name: str, together: dict[str, str]) -> list[str]:
    """The same of a metric; with task labels, all metrics have run in one evaluator."""
    alone = outcome("ham", task_labels=False, metric=METRICS[name])
    return [*(together[method] for method in METHODS), alone]


def all_metrics() -> list[Any]:
    """Make every metric, for one evaluator."""
    made = (make() for make in METRICS.values())
    return [one for m in made for one in (m if isinstance(m, list) else [m])]


def table(rows: dict[str, list[str]]) -> str:
    """Lay outcomes out, one row a part; what does not simply work is said below."""
    head = ["", *METHODS, "ham, no task labels"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    notes = list(dict.fromkeys(text for row in rows.values() for text in row if text != WORKS))
    for name, row in rows.items():
        cells = []
        for text in row:
            mark = "" if text == WORKS else f" [{notes.index(text) + 1}]"
            cells.append((WORKS if text.startswith(WORKS) else "no") + mark)
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join([*lines, "", *(f"[{n}] {note}  " for n, note in enumerate(notes, 1))])


def main() -> None:
    """Run all cells and write the tables into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--page", type=Path, default=PAGE)
    page = parser.parse_args().page
    warnings.simplefilter("ignore")  # what Avalanche says of metrics without a logger
    torch.set_num_threads(1)
    together = {m: outcome(m, task_labels=True, metric=all_metrics) for m in METHODS}
    tables = {
        "plugins": table({name: plugin_cells(name) for name in PLUGINS}),
        "metrics": table({name: metric_cells(name, together) for name in METRICS}),
    }
    text = page.read_text()
    for kind, made in tables.items():
        start, end = f"<!-- {kind} -->\n", f"<!-- end of {kind} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{made}\n\n{end}{rest.split(end)[1]}"
    page.write_text(text)


if __name__ == "__main__":
    main()
