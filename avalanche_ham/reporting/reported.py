"""Reported and reproduced: what papers print of each method beside what it does here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from avalanche_ham.benchmarks.registry import entry_of
from avalanche_ham.reporting import other_papers, paper
from avalanche_ham.reporting.comparison import AA
from avalanche_ham.reporting.methods import LABELS, printed_methods
from avalanche_ham.reporting.pam import COMPARED, UNDAMPED, Rows, asked
from avalanche_ham.reporting.pam import PAPER as PAM
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.slao import PAPER as SLAO
from avalanche_ham.reporting.slao import rows as slao_rows
from avalanche_ham.reporting.table import Column, Line, Place, Printed, Table
from avalanche_ham.reporting.transfer import ACC, BWT, MERGED

SAME_BIRDS = {"cub100": "cub200"}  # the hundred classes here are of the paper's two hundred
FULL, SHORT = 50, 10  # tasks: HAM's Table 1; what is run of the birds, and beside other papers


def _lengths(benchmark: str) -> tuple[int, ...]:
    classes = entry_of(benchmark).n_classes or 2 * FULL
    return (SHORT if benchmark in SAME_BIRDS else min(FULL, classes // 2),)


def _short(benchmark: str) -> tuple[int, ...]:
    return (SHORT,) if benchmark in other_papers.FROZEN_RIDGE else ()


def _beside_text(benchmark: str) -> tuple[int, ...]:
    """Give where we stand beside tasks that no data set here resembles: one stream, short."""
    return (SHORT,) if benchmark == "cifar100" else ()


def _ham(line: Line, place: Place) -> Value | None:
    """Read HAM's Table 1, whatever our number of tasks."""
    name = SAME_BIRDS.get(place.benchmark, place.benchmark)
    return None if not line.is_printed else paper.TABLE_1.get(line.method, {}).get(name)


def _pam(which: int) -> Printed:
    """Read ACC (0), BWT (1) or the accuracy on a task just learned (2) of PAM's tables."""
    return lambda line, place: other_papers.PAM.get(line.method, (None,) * 3)[which]


def _slao(line: Line, place: Place) -> Value | None:
    options = line.options.items() - SLAO.items()
    return other_papers.SLAO.get((line.method, tuple(sorted(options))))


def _elsewhere(line: Line, place: Place) -> Value | None:
    if line.method == "frozen":
        return other_papers.FROZEN_RIDGE.get(place.benchmark) if place.head == "ridge" else None
    known = other_papers.CIFAR100_10_TASKS if place.benchmark == "cifar100" else {}
    return known.get(line.method)


def _named(*names: str, options: Mapping[str, dict[str, Any]] | None = None) -> Rows:
    """Give a row for each of some methods, or for those of them that were asked for.

    Args:
        names: of the methods.
        options: of some of them, in place of what a preset has found to be better.
    """
    return asked([Line(LABELS[name], name, (options or {}).get(name, {})) for name in names])


def _slao_rows(setup: Setup, place: Place) -> Iterator[Line]:
    """List the rows of SLAO's table that its paper has too."""
    return (line for line in asked(slao_rows)(setup, place) if _slao(line, place))


REPORTED = Table(
    "Reported and reproduced, AA (%)",
    columns=[replace(AA, title="", paper=_ham)],
    rows=printed_methods,
    benchmarks=("cifar100", "cub100"),
    lengths=_lengths,
    heads=("linear", "ridge"),
    blocks=["head"],
    also=[
        Table(
            "As several papers print CIFAR-100 in 10 tasks on a ViT-B/16",
            columns=[replace(AA, title="", paper=_elsewhere)],
            rows=_named("frozen", *other_papers.CIFAR100_10_TASKS),
            lengths=_short,
        ),
        Table(
            f"PAM's Tables 1 and 2 (questions about images, PaliGemma), ours {UNDAMPED}",
            columns=[
                replace(ACC, paper=_pam(0)),
                replace(BWT, paper=_pam(1)),
                replace(MERGED, paper=_pam(2)),
            ],
            rows=_named(*COMPARED, options=PAM),
            lengths=_beside_text,
        ),
        Table(
            "SLAO's ablation (15 text tasks, Llama-2-7B)",
            columns=[Column("ACC (%)", ACC.statistic, _slao, best="max")],
            rows=_slao_rows,
            lengths=_beside_text,
        ),
    ],
    notes=[
        "the column paper: HAM's Table 1 (ViT-B/16 at 224 px, 50 tasks; CUB-200 beside CUB-100), "
        "then what the title of a block names; ours is the set-up below in every block, so only "
        "orders and differences compare",
        f"frozen backbone under ridge: {other_papers.FROZEN}",
    ],
    slips=[
        f"a slip in HAM's paper, Table {name}: {slip}"
        for name, slips in paper.SLIPS.items()
        for slip in slips
    ]
    + [other_papers.SLIP],
)
