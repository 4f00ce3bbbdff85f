"""Every method's difference to one: where it lies and which intervals hold 0."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.layout import Block, Sheet
from avalanche_ham.reporting.style import ACCENT, COLOURS, GREY, new_figure

DIFFERENCE, SEEDS, IMAGES = 1, 2, 3  # the columns of ``table_against``
ACROSS = 3  # panels
FLAT: Any = {"solid_capstyle": "butt"}  # a bar ends where its interval does


def plot_against(table: Sheet[Summary]) -> Figure:
    """Draw a panel per block, a line per method, the highest mean of all panels on top.

    The dot is the mean difference in points of AA, the thick bar its 95 % interval over test
    images, the thin one that over seeds. A dot is filled where the interval over seeds, or the
    other one where there is none, does not hold 0.

    Args:
        table: as ``table_against`` lays it out.
    """
    values = [_differences(block) for block in table.blocks]
    known = defaultdict[str, list[float]](list)
    for found in values:
        for label, mean in found.items():
            known[label].append(mean)
    labels = sorted(known, key=lambda label: statistics.fmean(known[label]))
    panels = [block for block, found in zip(table.blocks, values) if found]
    across = min(ACROSS, max(1, len(panels)))
    down = max(1, math.ceil(len(panels) / across))
    height = down * (1.0 + 0.17 * len(labels))
    figure = new_figure(2.4 + 2.3 * across, max(1.6, height), empty=not panels)
    ends = [0.0, *(end for block in panels for end in _ends(block))]
    for position, block in enumerate(panels):
        axes = figure.add_subplot(down, across, position + 1)
        _draw(axes, block, labels)
        axes.set_xlim(min(ends) - 1, max(ends) + 1)  # of a few seeds an interval may be wider
        axes.set(title=textwrap.fill(block.title, 34))
        axes.set(xlabel=textwrap.fill(f"AA {block.columns[DIFFERENCE].title} (points)", 36))
        if position % across:
            axes.set_yticklabels([])
    return figure


def _differences(block: Block[Summary]) -> dict[str, float]:
    found = {row.label: row.cells[DIFFERENCE].mean for row in block.rows}
    return {label: mean for label, mean in found.items() if mean is not None}


def _ends(block: Block[Summary]) -> Iterator[float]:
    for row in block.rows:
        if (mean := row.cells[DIFFERENCE].mean) is not None:
            yield mean
        yield from row.cells[IMAGES].interval or ()


def _draw(axes: Any, block: Block[Summary], labels: list[str]) -> None:
    axes.axvline(0.0, color=ACCENT, lw=1.2, zorder=1)
    rows = {row.label: row.cells for row in block.rows}
    for height, label in enumerate(labels):
        cells = rows.get(label)
        if cells is None or cells[DIFFERENCE].mean is None:
            continue
        for column, width in ((SEEDS, 0.8), (IMAGES, 2.6)):
            if (ends := cells[column].interval) is not None:
                axes.plot(ends, (height, height), color=GREY, lw=width, zorder=2, **FLAT)
        decides = cells[SEEDS].interval or cells[IMAGES].interval
        tells = decides is not None and not decides[0] <= 0.0 <= decides[1]
        dot = {"markerfacecolor": COLOURS[0] if tells else "white", "zorder": 3}
        axes.plot(cells[DIFFERENCE].mean, height, "o", markeredgecolor=COLOURS[0], **dot)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.7, len(labels) - 0.3)
