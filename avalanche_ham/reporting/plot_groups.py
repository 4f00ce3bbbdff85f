"""Ours: which adapter joined which group, how the alphas moved, what has to be kept."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from avalanche_ham.reporting.cells import Cell
from avalanche_ham.reporting.layout import Block, Row
from avalanche_ham.reporting.methods import HAM
from avalanche_ham.reporting.style import (
    ACCENT,
    COLOURS,
    GREY,
    End,
    look_of_row,
    name_ends,
    new_figure,
)
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.records import Record


def plot_groups(block: Block[Cell], archive: Archive) -> Figure:
    """Draw similarity and grouping map, alphas and parameter growth of one block.

    The first two panels show HAM's run with the first seed.
    """
    curves = {row.label: _first(row, archive) for row in block.rows}
    known = {label: record for label, record in curves.items() if record is not None}
    figure = new_figure(7.0, 7.6, empty=not known)
    figure.suptitle(block.title, fontsize=9)
    if not known:
        return figure
    grid = figure.add_gridspec(3, 1, height_ratios=(0.7, 1.1, 2.4))
    axes = [figure.add_subplot(grid[i]) for i in range(3)]
    if HAM in known:
        _draw_map(axes[0], known[HAM])
        _draw_alphas(axes[1], known[HAM])
    _draw_growth(axes[2], known)
    return figure


def _first(row: Row[Cell], archive: Archive) -> Record | None:
    records = (archive.record(config) for config in row.cells[0].runs)
    return next((record for record in records if record is not None), None)


def _draw_map(axes: Any, record: Record) -> None:
    """Colour: cosine of the new adapter with each group; ring: the group that it joined."""
    groups = record["groups"]
    members, similarities = groups["members"], groups["similarities"]
    count = max(members) + 1
    matrix = [
        [row[j] if j < len(row) else float("nan") for row in similarities] for j in range(count)
    ]
    known = [abs(v) for row in similarities for v in row] or [1.0]
    limit = max(*known, 1e-6)
    tasks = len(members)
    image = axes.imshow(
        matrix,
        aspect="auto",
        cmap="PuOr",
        vmin=-limit,
        vmax=limit,
        extent=(0.5, tasks + 0.5, count - 0.5, -0.5),
        interpolation="nearest",
    )
    axes.plot(range(1, tasks + 1), members, "o", color="black", fillstyle="none", markersize=4)
    axes.set_yticks(range(count), [f"group {j}" for j in range(count)])
    axes.grid(visible=False)
    axes.set(title="cosine with each group (colour) and the group joined (ring)")
    axes.figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05)


def _draw_alphas(axes: Any, record: Record) -> None:
    """Lines: the groups' alphas after each task; crosses: the new adapter's own."""
    ends = [entry["end"] for entry in record["groups"]["alphas"]]
    tasks = range(1, len(ends) + 1)
    axes.plot(tasks, [end[-1] for end in ends], "x", color=GREY, markersize=4)
    names = [End(len(ends), ends[-1][-1], "new adapter", GREY)]
    for group in range(max(len(end) for end in ends) - 1):
        known = [(t, end[group]) for t, end in zip(tasks, ends) if group < len(end) - 1]
        colour = ACCENT if group == 0 else COLOURS[(group - 1) % len(COLOURS)]
        axes.plot(*zip(*known), color=colour, linewidth=1.4)
        names.append(End(*known[-1], f"group {group}", colour))
    axes.set(title="alphas after each task")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_ends(axes, names, gap=0.11)


def _draw_growth(axes: Any, records: dict[str, Record]) -> None:
    names = []
    for label, record in records.items():
        stored = record["stored_parameters"]
        look = look_of_row(label)
        axes.plot(range(1, len(stored) + 1), stored, **look.line)
        names.append(End(len(stored), stored[-1], label, look.colour, label == HAM))
    axes.set(title="stored parameters (non-zero entries)", xlabel="tasks", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_ends(axes, names, gap=0.052)
