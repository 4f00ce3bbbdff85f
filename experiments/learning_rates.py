"""The learning rate of every method, from one grid that is the same for all.

Command: python learning_rates.py --data-root DATA --records results/learning_rates

CIFAR-100 in 10 tasks, preset cpu, seed 1, accuracies on held-out training images (a fifth of
those of each class; test images are never looked at). Chosen is the rate with the highest mean
of the AA under the trained and the ridge head, because one training serves both. With
``--tasks 50`` each method is tried at its choice and at the next smaller rate, as longer streams
drift further. Runs that are there already are not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from avalanche_ham.presets import preset_values
from avalanche_ham.reporting.archive import Archive, read_archive
from avalanche_ham.reporting.execute import execute
from avalanche_ham.reporting.methods import REFERENCES
from avalanche_ham.reporting.paper import METHODS
from avalanche_ham.reporting.plan import make_plan, together
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.run_config import Resources, RunConfig

GRID = (4e-5, 2e-4, 1e-3, 5e-3)
SHORT = 20  # tasks, up to which all rates but the smallest are tried
HEADS = ("linear", "ridge")
ALL = (*METHODS, *(name for name in REFERENCES if name != "joint"))
HELD_OUT = {"holdout": 0.2, "test_per_class": 20}


def main(arguments: list[str] | None = None) -> None:
    """Make the missing runs and print the table."""
    options = parse(arguments)
    setup = Setup(
        seeds=(1,), preset=options.preset, data_root=options.data_root, heads=HEADS
    )
    names = tuple(options.methods.split(",")) if options.methods else ALL
    archive = read_archive(options.records, must_exist=False)
    runs = [config for name in names for config in grid(setup, name, options)]
    plan = make_plan(runs, archive, setup)
    resources = Resources(
        data_root=options.data_root, device=options.device, threads=options.threads
    )
    problems = execute(
        together(plan.missing),
        options.records,
        archive,
        resources=resources,
        jobs=options.jobs,
    )
    print("\n".join([*table(setup, names, archive, options), *problems]))


def grid(setup: Setup, method: str, options: argparse.Namespace) -> list[RunConfig]:
    """List the runs of a method."""
    rates = rates_of(method, options)
    return [run for rate in rates for run in _runs(setup, method, rate, options)]


def rates_of(method: str, options: argparse.Namespace) -> tuple[float, ...]:
    """Give the rates to try; without adapters there is only the head's."""
    if method == "frozen":
        return GRID[1:2]
    if options.tasks <= SHORT:
        return GRID[1:]
    place = GRID.index(preset_values(options.preset, options.benchmark, method)["lr"])
    return GRID[place - 1 : place + 1]


def _runs(
    setup: Setup, method: str, rate: float, options: argparse.Namespace
) -> list[RunConfig]:
    return [
        run
        for head in HEADS
        for run in setup.runs(
            method,
            benchmark=options.benchmark,
            n_tasks=options.tasks,
            head=head,
            lr=rate,
            **HELD_OUT,
        )
    ]


def table(
    setup: Setup, names: tuple[str, ...], archive: Archive, options: argparse.Namespace
) -> list[str]:
    """Give the lines of a Markdown table: AA at each rate, trained head / ridge."""
    rates = [r for r in GRID if any(r in rates_of(name, options) for name in names)]
    lines = [
        "| method | " + " | ".join(f"{rate:g}" for rate in rates) + " | chosen |",
        "|---|" + "---|" * (len(rates) + 1),
    ]
    for name in names:
        cells, means = [], {}
        for rate in rates:
            found = [archive.record(run) for run in _runs(setup, name, rate, options)]
            scores = [record["aa"] for record in found if record]
            cells.append(" / ".join(f"{score:.1f}" for score in scores) or "-")
            if len(scores) == len(HEADS):
                means[rate] = sum(scores) / len(scores)
        best = f"{max(means, key=means.__getitem__):g}" if means else "-"
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {best} |")
    return lines


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--data-root", default="~/.cache/avalanche_ham")
    parser.add_argument("--methods", help="names with commas between; default all")
    parser.add_argument("--benchmark", default="cifar100")
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
