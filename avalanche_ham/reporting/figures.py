"""Figures 2 and 3 and some of our own, each with the numbers behind it as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from avalanche_ham.benchmarks.registry import entry_of
from avalanche_ham.files import write_whole
from avalanche_ham.reporting import paper
from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.cells import Cell, last_of, mean_of
from avalanche_ham.reporting.compare import figure_against
from avalanche_ham.reporting.comparison import AA, FEED_TIME, LENGTH, TRAINING, printed
from avalanche_ham.reporting.formats import comma_separated
from avalanche_ham.reporting.layout import Sheet
from avalanche_ham.reporting.methods import every_method, plain_methods
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Place, Table
from avalanche_ham.runs.archive import Archive

TIMED = ("ham", "sd_lora", "inflora")  # the methods that the paper times


def _lengths(benchmark: str) -> list[int]:
    """Give the paper's four lengths, or smaller ones where the data set has not the classes."""
    most = entry_of(benchmark).n_classes or 100
    return [n for n in (2, 5, 10, 20, 50, 100) if n <= most][-4:]


def _compared(setup: Setup, place: Place) -> Iterator[Line]:
    """List what the user named, or what the paper has."""
    for line in every_method(setup, place):
        if setup.methods or (line.method in paper.METHODS and not line.options):
            yield line


def _printed_by_length(line: Line, place: Place) -> Value | None:
    found = printed(paper.TABLE_1)(line, place)
    if found is None and (line.method, place.benchmark) == ("ham", "cifar100"):
        return paper.HAM_BY_LENGTH.get(place.n_tasks)
    return found


def _timed(setup: Setup, place: Place) -> list[Line]:
    """List HAM, then what the paper times it against, then the rest."""
    lines = plain_methods(setup, place)
    return sorted(lines, key=lambda r: TIMED.index(r.method) if r.method in TIMED else len(TIMED))


# the last evaluation runs over all test images, with the final model
_INFERENCE = mean_of(lambda record: record["eval_seconds"][-1] / record["n_tasks"])
FIGURES: dict[str, Table | Callable[[Setup], Table]] = {
    "2": Table(
        "Figure 2. AA (%) over the number of tasks",
        columns=[replace(AA, title="", paper=_printed_by_length)],
        rows=_compared,
        benchmarks=paper.DATA_SETS,
        lengths=_lengths,
        blocks=["benchmark", "head"],
    ),
    "3": Table(
        "Figure 3. Time per task",
        columns=[
            replace(TRAINING, best="min", digits=3),
            Column("inference, s per task", _INFERENCE, best="min", digits=3, timed=True),
        ],
        rows=_timed,
        notes=[
            "the paper prints no times; it calls HAM roughly twice as fast as SD-LoRA",
            FEED_TIME,
        ],
    ),
    "extra": Table(
        "Groups, alphas and stored parameters",
        columns=[
            Column("AA", mean_of("aa"), best="max"),
            Column("stored parameters", last_of("stored_parameters"), best="min", digits=0),
        ],
        rows=plain_methods,
        lengths=[LENGTH],
    ),
    "against": figure_against,
}


def draw(
    name: str, filled: Sheet[Summary], sheet: Sheet[Cell], archive: Archive, folder: Path
) -> list[Path]:
    """Draw a figure into a folder.

    Args:
        name: one of ``FIGURES``.
        filled: the figure's numbers, with notes.
        sheet: the same before it was filled.
        archive: the records.
        folder: made if it does not exist.

    Returns:
        The paths of the pictures (PNG and SVG), of the numbers (CSV) and of the notes.
    """
    from avalanche_ham.reporting.plot_against import plot_against
    from avalanche_ham.reporting.plot_groups import plot_groups
    from avalanche_ham.reporting.plots import plot_lengths, plot_times
    from avalanche_ham.reporting.style import save, styled  # matplotlib takes half a second

    stem = folder / f"figure_{name}"
    with styled():
        if name == "2":
            paths = save(plot_lengths(filled), stem)
        elif name == "3":
            paths = save(plot_times(filled), stem)
        elif name == "against":
            paths = save(plot_against(filled), stem)
        else:
            paths = []
            for index, block in enumerate(sheet.blocks, 1):
                part = f"{stem.name}_{index}" if len(sheet.blocks) > 1 else stem.name
                paths += save(plot_groups(block, archive), folder / part)
    numbers, notes = stem.with_suffix(".csv"), stem.with_suffix(".txt")
    write_whole(numbers, comma_separated(filled).encode())
    write_whole(notes, "\n".join([filled.title, *filled.notes, ""]).encode())
    return [*paths, numbers, notes]
