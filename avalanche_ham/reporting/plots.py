"""Figure 2, accuracy over the number of tasks, and Figure 3, time per task."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.layout import Block, Row, Sheet
from avalanche_ham.reporting.methods import HAM
from avalanche_ham.reporting.notes import MIXED
from avalanche_ham.reporting.style import (
    ACCENT,
    GREY,
    End,
    look_of_row,
    name_ends,
    new_figure,
)

PANEL, FRAME = 3.6, 0.75  # inches: the least height of a panel, what its title and axis take
NAME = 0.15  # inches from one name to the next


def plot_lengths(table: Sheet[Summary]) -> Figure:
    """Draw Figure 2: a panel per block, a line per method with a band of one deviation.

    Every line is named at its end. The paper's HAM, where it prints a number, is grey.

    Args:
        table: columns are numbers of tasks, titled ``"<n> tasks"``.
    """
    blocks = _with_numbers(table)
    columns = min(2, max(1, len(blocks)))
    lines = max(1, math.ceil(len(blocks) / columns))
    most = max((len(block.rows) for block in blocks), default=0)
    height = max(PANEL, FRAME + NAME * (most + 1))
    figure = new_figure(4.6 * columns, height * lines, empty=not blocks)
    for position, block in enumerate(blocks, 1):
        axes = figure.add_subplot(lines, columns, position)
        lengths = [int(column.title.split()[0]) for column in block.columns]
        _draw_lines(axes, block, lengths, gap=NAME / (height - FRAME))
        axes.set(title=block.title, xlabel="number of tasks", ylabel="AA (%)")
    return figure


def _draw_lines(axes: Any, block: Block[Summary], lengths: list[int], *, gap: float) -> None:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    lengths = [lengths[i] for i in order]
    places = [math.log10(n) for n in lengths]  # equal ratios are equally far apart
    ends: list[End] = []
    theirs: list[End] = []
    for row in block.rows:
        accent = row.label == HAM
        cells = [row.cells[i] for i in order]
        printed = [(x, c.paper.mean) for x, c in zip(places, cells) if accent and c.paper]
        if printed:
            dots = {"linestyle": ":", "marker": "o", "markerfacecolor": "white", "zorder": 1.5}
            axes.plot(*zip(*printed), color=GREY, **dots)
            theirs.append(End(*printed[-1], f"{HAM}, the paper's", GREY))
        points = [(x, c.mean, c.std) for x, c in zip(places, cells) if c.mean is not None]
        if not points:
            continue
        look = look_of_row(row.label)
        x, y, _ = zip(*points)
        axes.plot(x, y, marker=look.marker, zorder=3 if accent else 2, **look.line)
        band = [(x, mean - std, mean + std) for x, mean, std in points if std is not None]
        if band:
            axes.fill_between(*zip(*band), color=look.colour, alpha=0.15, lw=0)
        ends.append(End(x[-1], y[-1], row.label, look.colour, accent))
    axes.set_xticks(places, [str(n) for n in lengths])
    axes.set_xlim(places[0] - 0.05, places[-1] + 0.05)
    name_ends(axes, ends + theirs, gap=gap)


def plot_times(table: Sheet[Summary]) -> Figure:
    """Draw Figure 3: seconds per task, training beside inference, a bar per method.

    Args:
        table: two columns, training and inference; the methods that the paper times first.
    """
    blocks = _with_numbers(table)
    heights = [0.9 + 0.2 * len(_timed(block)) for block in blocks]
    figure = new_figure(7.0, max(1.6, sum(heights)), empty=not blocks)
    if not blocks:
        return figure
    if any(note.startswith(MIXED) for note in table.notes):
        said = f"({MIXED}: the runs were on several machines)"
        blocks = [replace(block, title=f"{block.title}\n{said}") for block in blocks]
    parts = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)
    for block, part in zip(blocks, parts[:, 0]):
        part.suptitle(block.title, fontsize=9)
        panels = part.subplots(1, 2)
        for column, heading in enumerate(("training", "inference, final model")):
            _draw_bars(panels[column], _timed(block), column)
            panels[column].set(title=heading, xlabel="seconds per task")
        panels[1].set_yticklabels([])
    return figure


def _timed(block: Block[Summary]) -> list[Row[Summary]]:
    return [row for row in block.rows if all(c.mean is not None for c in row.cells)]


def _counted(row: Row[Summary]) -> str:
    """Name a row, with the number of its runs where some are missing."""
    n, total = min((cell.n, cell.total) for cell in row.cells)
    return row.label if n == total else f"{row.label} ({n} of {total})"


def _draw_bars(axes: Any, rows: list[Row[Summary]], column: int) -> None:
    cells = [row.cells[column] for row in rows]
    means = [cell.mean or 0.0 for cell in cells]
    errors = [math.nan if cell.std is None else cell.std for cell in cells]  # of one run none
    colours = [ACCENT if row.label == HAM else "#8DA9C4" for row in rows]
    whiskers = {"ecolor": "black", "elinewidth": 0.8, "capsize": 2}
    axes.barh(range(len(rows)), means, xerr=errors, color=colours, error_kw=whiskers)
    for place, (mean, error) in enumerate(zip(means, errors)):
        axes.annotate(
            f"{mean:.3g}",
            (mean if math.isnan(error) else mean + error, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.set_yticks(range(len(rows)), [_counted(row) for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="y", visible=False)


def _with_numbers(table: Sheet[Summary]) -> list[Block[Summary]]:
    """Leave out blocks of which no run is finished."""
    filled = [any(c.mean is not None for row in b.rows for c in row.cells) for b in table.blocks]
    return [block for block, has_numbers in zip(table.blocks, filled) if has_numbers]
