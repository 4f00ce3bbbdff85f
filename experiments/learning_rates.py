"""The learning rate of every method, from one grid that is the same for all.

Command: python learning_rates.py --data-root DATA --records results

CIFAR-100 in 20 tasks (the middle of the tables' 10, 20 and 50), preset cpu, seed 1, accuracies
on held-out training images (a fifth of those of each class; test images are never looked at).
Chosen is the rate with the highest mean of the AA under the trained and the ridge head, because
one training serves both. A method that does best at the smallest rate is tried at a fifth of it,
too. Runs that are there already are not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from avalanche_ham.reporting.methods import REFERENCES
from avalanche_ham.reporting.paper import METHODS
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.runs.archive import Archive, read_archive
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.execute import execute
from avalanche_ham.runs.plan import make_plan, together

GRID = (2e-4, 1e-3, 5e-3)
SMALLER = 4e-5  # for a method that does best at the smallest of them
HEADS = ("linear", "ridge")
ALL = (*METHODS, *(name for name in REFERENCES if name != "joint"))
HELD_OUT = {"holdout": 0.2, "test_per_class": 20}


def main(arguments: list[str] | None = None) -> None:
    """Make the missing runs and print the table."""
    options = parse(arguments)
    setup = Setup(seeds=(1,), preset=options.preset, data_root=options.data_root, heads=HEADS)
    names = tuple(options.methods.split(",")) if options.methods else ALL
    archive = read_archive(options.records, must_exist=False)
    resources = Resources(
        data_root=options.data_root, device=options.device, threads=options.threads
    )
    problems = []
    for _ in ("the grid", "the smaller rate, where the grid asks for it"):
        runs = [config for name in names for config in grid(setup, name, archive, options)]
        problems += execute(
            together(make_plan(runs, archive, setup.has_data).missing),
            options.records,
            archive,
            resources=resources,
            jobs=options.jobs,
        )
    print("\n".join([*table(setup, names, archive, options), *problems]))


def grid(
    setup: Setup, method: str, archive: Archive, options: argparse.Namespace
) -> list[RunConfig]:
    """List the runs of a method, as far as the runs that are there can tell."""
    rates = GRID[:1] if method == "frozen" else GRID  # it has the head's rate alone
    scores = {rate: measured(setup, method, rate, archive, options) for rate in rates}
    if method != "frozen" and all(scores.values()) and best(scores) == GRID[0]:
        rates = (SMALLER, *GRID)
    return [run for rate in rates for run in _runs(setup, method, rate, options)]


def measured(
    setup: Setup, method: str, rate: float, archive: Archive, options: argparse.Namespace
) -> list[float]:
    """Give a method's AA at a rate, percent, under each head; nothing before it has run."""
    found = [archive.record(run) for run in _runs(setup, method, rate, options)]
    return [record["aa"] for record in found if record]


def best(scores: dict[float, list[float]]) -> float:
    """Choose the rate with the highest mean of both heads."""
    return max(scores, key=lambda rate: sum(scores[rate]))


def _runs(setup: Setup, method: str, rate: float, options: argparse.Namespace) -> list[RunConfig]:
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
    rates = (SMALLER, *GRID)
    lines = [
        "| method | " + " | ".join(f"{rate:g}" for rate in rates) + " | chosen |",
        "|---|" + "---|" * (len(rates) + 1),
    ]
    for name in names:
        scores = {r: measured(setup, name, r, archive, options) for r in rates}
        cells = [" / ".join(f"{aa:.1f}" for aa in scores[r]) or "-" for r in rates]
        whole = {r: found for r, found in scores.items() if len(found) == len(HEADS)}
        chosen = f"{best(whole):g}" if whole else "-"
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {chosen} |")
    return lines


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--data-root", default="~/.cache/avalanche_ham")
    parser.add_argument("--methods", help="names with commas between; default all")
    parser.add_argument("--benchmark", default="cifar100")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
