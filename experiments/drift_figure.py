"""Plot how far the class means of old tasks are from where a head believes them.

Command: python drift_figure.py --data-root DATA --weights FILE --out results/drift/cifar100

After each task the true means of all old classes are taken from their training images, features of
unit length, under the weights that evaluation uses. ``stale`` is their mean distance to the means
of when each class was learned, which is what a head without images keeps; ``followed`` that to the
means of the head ``lda_drift``. Both are in units of the mean distance of two true class means: at
1 a class is believed as far from its place as another class is. Each task's numbers go to OUT.csv
as they come, the figure to OUT.png and OUT.svg; with ``--draw`` it is made from OUT.csv alone.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.evaluation.forward_transfer import features_of
from avalanche_ham.files import write_whole
from avalanche_ham.heads.drift import ncm_drift
from avalanche_ham.reporting.style import End, look_of, name_ends, new_figure, save, styled
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.presets import PRESETS
from avalanche_ham.runs.run import Run

METHODS = {"ham": "HAM", "ham_plus": "HAM+"}
MEASURES = {"stale": "means kept as they were", "followed": "means that follow"}
HEAD = "lda_drift"


def class_means(run: Run, tasks: int) -> Tensor:
    """Give the true means ``(C, d)`` of the classes of the first tasks, others NaN."""
    strategy, model = run.strategy, run.strategy.model
    means = ncm_drift(model.encoder.num_features, run.benchmark.n_classes).to(strategy.device)
    model.eval()
    with strategy.evaluation_weights():
        for experience in run.benchmark.train_stream[:tasks]:
            means.feed(*features_of(strategy, experience))
    return means.sums / means.counts[:, None]


def measured(run: Run) -> Iterator[dict[str, Any]]:
    """Train task after task; give a row after each but the first."""
    learned = torch.full_like(run.strategy.model.readouts[HEAD].means, torch.nan)
    for t, experience in enumerate(run.benchmark.train_stream):
        old = ~learned[:, 0].isnan()
        run.strategy.train(experience, eval_streams=[])
        true = class_means(run, t + 1)
        if t:
            apart = F.pdist(true[~true[:, 0].isnan()]).mean()
            believed = {"stale": learned, "followed": run.strategy.model.readouts[HEAD].means}
            far = {
                name: float((means[old] - true[old]).norm(dim=1).mean() / apart)
                for name, means in believed.items()
            }
            yield {"method": run.settings.method, "task": t + 1, **far}
        new = list(experience.classes_in_this_experience)
        learned[new] = true[new]


def rows_of(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train both methods."""
    for method in METHODS:
        config = RunConfig(
            method=method,
            benchmark=options.benchmark,
            n_tasks=options.tasks,
            preset=options.preset,
            weights=options.weights,
            head=HEAD,
        )
        resources = Resources(
            data_root=options.data_root, device=options.device, threads=options.threads
        )
        for row in measured(Run(resolve_config(config), resources, show=False)):
            print(
                f"{row['method']} {row['task']}: {row['stale']:.3f} {row['followed']:.3f}",
                flush=True,
            )
            yield row


def draw(rows: list[dict[str, str]], stem: Path) -> list[Path]:
    """Write the figure of the rows of a CSV file."""
    with styled():
        figure = new_figure(6.4, 3.4)
        axes, ends = figure.add_subplot(), []
        for method, name in METHODS.items():
            mine = [row for row in rows if row["method"] == method]
            for measure, words in MEASURES.items():
                look = look_of(0, accent=method == "ham_plus")
                x, y = [int(r["task"]) for r in mine], [float(r[measure]) for r in mine]
                line = {**look.line, "linestyle": "-" if measure == "stale" else "--"}
                axes.plot(x, y, **line)
                ends.append(End(x[-1], y[-1], f"{name}, {words}", look.colour))
        axes.set(xlabel="tasks learned", ylim=(0, None))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("distance of believed and true means\n/ distance of two classes")
        name_ends(axes, ends, gap=0.08)
        return save(figure, stem)


def main(arguments: list[str] | None = None) -> None:
    """Measure, unless told only to draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--draw", action="store_true", help="only draw OUT.csv")
    parser.add_argument("--data-root", default="~/.cache/avalanche_ham")
    parser.add_argument("--weights")
    parser.add_argument("--benchmark", default="cifar100")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--preset", default="study", choices=tuple(PRESETS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    table = options.out.with_name(options.out.name + ".csv")
    if not options.draw:
        lines = ["method,task,stale,followed"]
        for row in rows_of(options):
            lines.append(f"{row['method']},{row['task']},{row['stale']:.4f},{row['followed']:.4f}")
            table.parent.mkdir(parents=True, exist_ok=True)
            write_whole(table, "\n".join([*lines, ""]).encode())
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    print("\n".join(str(path) for path in draw(rows, options.out)))


if __name__ == "__main__":
    main()
