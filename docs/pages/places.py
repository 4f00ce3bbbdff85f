"""Where each method stands in the table of all methods, from the records in experiments/results."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.heads import HEADS
from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.comparison import METHODS_TABLE
from avalanche_ham.reporting.formats import NEAR, cell_words
from avalanche_ham.reporting.layout import fill, lay_out
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Place
from avalanche_ham.runs.archive import Archive, read_archive
from avalanche_ham.strategies.registry import METHODS

RECORDS = Path(__file__).parents[2] / "experiments" / "results"


class Found(NamedTuple):
    """A method at one place of the table, in words."""

    benchmark: str
    tasks: str
    head: str
    preset: str
    aa: str
    paper: str
    fm: str
    runs: str
    rank: str


def places() -> dict[str, list[Found]]:
    """Read all records and give every method's places, those with most tasks first."""
    archive = read_archive(RECORDS)
    seeds: dict[tuple[str, str, int, str], set[int]] = defaultdict(set)
    methods: dict[tuple[str, str, int, str], set[str]] = defaultdict(set)
    for known in archive.records:
        if known.head not in HEADS:  # a search's own
            continue
        where = known.preset, known.benchmark, known.n_tasks, known.head
        seeds[where].add(known.seed)
        methods[where].add(known.method)
    found: dict[str, list[Found]] = defaultdict(list)
    for (preset, benchmark, n_tasks, head), drawn in sorted(seeds.items(), reverse=True):
        place = Place(benchmark, n_tasks, head)
        there = [n for n in METHODS if n in methods[preset, benchmark, n_tasks, head]]
        for method, line in _lines(there, place, preset, tuple(sorted(drawn)), archive):
            found[method].append(line)
    return found


def _lines(
    methods: list[str], place: Place, preset: str, seeds: tuple[int, ...], archive: Archive
) -> list[tuple[str, Found]]:
    setup = Setup(
        benchmarks=(place.benchmark,),
        tasks=(place.n_tasks,),
        seeds=seeds,
        heads=(place.head,),
        preset=preset,
        known=frozenset({place.benchmark}),
    )
    lines = [Line(name, name) for name in methods]
    table = replace(METHODS_TABLE, rows=lines, columns=METHODS_TABLE.columns[:2])
    (block,) = fill(lay_out(table, setup), archive).blocks
    accuracy, forgetting = block.columns
    ranked = [row.cells[0] for row in block.rows if row.ranked]
    means = [round(c.mean, 2) for c in ranked if c.mean is not None and c.n == c.total]
    found = []
    for line, row in zip(lines, block.rows, strict=True):
        aa, fm = row.cells
        if aa.mean is None:
            continue
        whole = row.ranked and aa.n == aa.total and len(means) > 1
        rank = f"{1 + sum(m > round(aa.mean, 2) for m in means)} of {len(means)}" if whole else "–"
        rank += f" {NEAR}" if whole and row.near[0] else ""
        words = (_words(aa, accuracy), _paper(aa), _words(fm, forgetting))
        about = (title_of(place.benchmark), str(place.n_tasks), f"`{place.head}`", f"`{preset}`")
        runs = str(aa.n) if aa.n == aa.total else f"{aa.n} of {aa.total}"
        found.append((line.method, Found(*about, *words, runs, rank)))
    return found


def _words(cell: Summary, column: Column) -> str:
    return "".join(cell_words(cell, column)).partition(" (")[0]


def _paper(cell: Summary) -> str:
    return "" if cell.paper is None else f"{cell.paper.mean:.2f}"
