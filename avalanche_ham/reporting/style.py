"""The look of figures: readable in print, without colour vision, and without a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from avalanche_ham.files import whole_file
from avalanche_ham.reporting.methods import HAM, LABELS

# Okabe and Ito's palette, told apart with any colour vision; the first is kept for HAM
ACCENT = "#D55E00"
COLOURS = ("#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#E69F00", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))
VARIANT = (0, (6, 1.5, 1, 1.5))  # no method has it
MARKERS = "osD^vPX*<>"
GREY = "#777777"
SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.markersize": 4,
    "svg.hashsalt": "avalanche_ham",  # equal figures are equal files
    "svg.fonttype": "none",
}


class Look(NamedTuple):
    """How one line is drawn; no two of the first eighteen look the same without colour."""

    colour: str
    dash: Any
    marker: str
    width: float

    @property
    def line(self) -> dict[str, Any]:
        """How matplotlib draws it, but for the marker."""
        return {"color": self.colour, "linestyle": self.dash, "linewidth": self.width}


def look_of(index: int, *, accent: bool = False) -> Look:
    """Give the look of the index-th line, or the one that stands out."""
    if accent:
        return Look(ACCENT, "-", "o", 2.4)
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    return Look(COLOURS[index % len(COLOURS)], dash, MARKERS[index % len(MARKERS)], 1.2)


def look_of_row(label: str) -> Look:
    """Give the look of a method's line, the same in all figures; a variant's differs in its dash.

    Args:
        label: a value of ``LABELS``, or one with more words behind it.
    """
    names = list(LABELS.values())
    known = [
        name for name in names if label == name or label.startswith((f"{name},", f"{name} at"))
    ]
    if not known:
        return look_of(len(names))
    own = max(known, key=len)
    look = look_of(names.index(own), accent=label == HAM)
    return look if own == label else look._replace(dash=VARIANT)


def new_figure(width: float, height: float, *, empty: bool = False) -> Figure:
    """Make a figure, in inches, which says so if it will stay empty; nothing global is touched."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if empty:
        figure.text(0.5, 0.5, "no finished run yet", ha="center", va="center")
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem.png`` and ``stem.svg``; gives their paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    with whole_file(paths[0]) as file:
        figure.savefig(file, format="png", dpi=200)
    with whole_file(paths[1]) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
    return paths


def styled() -> Any:
    """Give a context in which figures have the house look."""
    return matplotlib.rc_context(SETTINGS)


class End(NamedTuple):
    """Where a line ends, in data coordinates, and what is written there."""

    x: float
    y: float
    label: str
    colour: str
    bold: bool = False


def name_ends(axes: Any, ends: Sequence[End], *, gap: float) -> None:
    """Write the names of lines right of a panel, apart from each other, with leaders.

    Args:
        axes: complete but for the names; any scale.
        ends: one per line.
        gap: smallest distance of two names, as a share of the panel's height.
    """
    axes.set_xlim(axes.get_xlim())  # asking settles the limits, which names depend on
    axes.set_ylim(axes.get_ylim())
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [to_axes.transform((end.x, end.y))[1] for end in ends]
    for end, height in zip(ends, spread(heights, gap, low=0, high=1)):
        axes.annotate(
            end.label,
            xy=(end.x, end.y),
            xytext=(1.05, height),
            textcoords="axes fraction",
            color=end.colour,
            fontsize=7,
            fontweight="bold" if end.bold else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),  # from the left of the name
                "color": end.colour,
                "lw": 0.4,
                "linestyle": (0, (1, 2)),  # dotted: none is a curve
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def spread(
    places: Sequence[float], gap: float, *, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Move labels apart, up and down alike, until neighbours are ``gap`` apart.

    The least squares of all moves, which is an isotonic regression: labels that touch form a heap
    that is centred on what it names.

    Args:
        places: wanted heights, in any order.
        gap: smallest distance, at least 0.
        low, high: where they stay as far as they fit; ``low`` wins.

    Returns:
        Heights in the order of ``places``; their order by height is kept.
    """
    from sklearn.isotonic import isotonic_regression  # takes a second

    if not places:
        return []
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    closed = isotonic_regression(np.asarray(places, float)[order] - steps)  # without the gaps
    moved = np.empty(len(places))
    moved[order] = np.maximum(np.minimum(closed, high - steps[-1]), low) + steps
    return list(moved)
