"""The demo's picture: accuracy over tasks, how HAM groups its adapters, and their alphas."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from avalanche_ham.benchmarks import BENCHMARKS
from avalanche_ham.benchmarks.class_incremental import task_sizes
from avalanche_ham.files import whole_file

# Told apart by the colour-blind; markers and dashes serve in grey print.
METHOD_STYLES = (("#0072B2", "o", "-"), ("#009E73", "s", "-"), ("#D55E00", "^", "--"))
GROUP_STYLES = (("#AA3377", "o"), ("#B07A00", "s"), ("#56B4E9", "^"), ("#222222", "D"))
GREY = "#666666"
LABEL_GAP = 6.5  # percent between two names at the right of the accuracy panel


def draw_demo(records: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw three panels from records and write them as a PNG file.

    Left: mean accuracy over the tasks seen so far, one line a record, and what guessing
    gives. Middle: similarity of each new adapter to each group there was (Eq. 3), with the
    group it joined or opened. Right: the alphas of groups and new adapters (Sec. 3.2.1).

    Args:
        records: name to show -> record, of the same benchmark; the first one with groups
            (a HAM run) gives the middle and the right panel.
        path: of the file; its folder exists.
    """
    figure = Figure(figsize=(13.5, 4.4), layout=ConstrainedLayoutEngine(wspace=0.06))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.35, 1, 1.15))
    draw_accuracy(left, records)
    ham = next(record for record in records.values() if record["groups"])
    draw_similarities(middle, ham)
    draw_alphas(right, ham["groups"])
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=150)


def draw_accuracy(axes: Axes, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw the mean accuracy over the tasks seen so far, in percent, and chance."""
    n_tasks, benchmark = next((r["n_tasks"], r["benchmark"]) for r in records.values())
    tasks = np.arange(1, n_tasks + 1)
    ends = []
    for (name, record), (colour, marker, line) in zip(records.items(), METHOD_STYLES):
        means = [100 * np.mean(row[:t]) for t, row in enumerate(record["accuracy_matrix"], 1)]
        axes.plot(tasks, means, line, color=colour, marker=marker, lw=2, clip_on=False)
        ends.append((means[-1], f"{name}  {means[-1]:.0f} %", colour))
    chance = _chance(benchmark, n_tasks)
    axes.plot(tasks, chance, ":", color=GREY, lw=1.5)
    ends.append((chance[-1], f"guessing  {chance[-1]:.0f} %", GREY))
    axes.hlines(range(0, 101, 20), 1, n_tasks, color="#dddddd", lw=0.7, zorder=0)
    _label_ends(axes, ends, n_tasks)
    _dress(axes, "Accuracy on all tasks so far", n_tasks)
    axes.set(ylabel="mean accuracy (%)", ylim=(0, 102))


def _chance(benchmark: str, n_tasks: int) -> list[float]:
    """Percent right by guessing among the classes seen so far."""
    n_classes = BENCHMARKS[benchmark].n_classes or n_tasks
    return [100 / seen for seen in accumulate(task_sizes(n_classes, n_tasks))]


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]], n_tasks: int) -> None:
    """Write names behind the lines' ends, pushed apart so that none covers another."""
    height = -np.inf
    for value, text, colour in sorted(ends):
        height = max(value, height + LABEL_GAP)
        axes.text(n_tasks + 0.2, height, text, color=colour, va="center", weight="bold")
    longest = max(len(text) for _, text, _ in ends)
    axes.set_xlim(0.8, n_tasks + 0.2 + 0.03 * n_tasks * longest)


def _dress(axes: Axes, title: str, n_tasks: int) -> None:
    """Give a panel over tasks its title, its ticks and no more frame than it needs."""
    axes.set_title(title, loc="left")
    axes.set(xlabel="tasks learned", xticks=range(1, n_tasks + 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_bounds(1, n_tasks)


def draw_similarities(axes: Axes, record: Mapping[str, Any]) -> None:
    """Draw each new adapter's similarity to the groups of its time, its own group framed."""
    groups, options = record["groups"], record["hyperparameters"]
    members, seen = groups["members"], groups["similarities"]
    gaps = [np.nan] * (max(members) + 1)
    table = np.array([[*row, *gaps[len(row) :]] for row in seen], float)
    top = max(0.05, np.nanmax(table, initial=0.0))
    digits = 3 if top < 0.1 else 2
    # shades stop at a middle grey: black numbers and coloured frames stay readable
    axes.imshow(table, cmap="Greys", vmin=0, vmax=2 * top, aspect="auto")
    for task, group in enumerate(members):
        for column, value in enumerate(seen[task]):
            shown = round(value, digits) + 0.0  # no "-0.000"
            axes.text(column, task, f"{shown:.{digits}f}", ha="center", va="center")
        _frame(axes, task, group, opens=group == len(seen[task]))
    axes.set_title("Similarity to the groups so far (Eq. 3)", loc="left")
    axes.set_xticks(range(table.shape[1]), [f"group {g + 1}" for g in range(table.shape[1])])
    axes.set_yticks(range(len(members)), [f"task {t + 1}" for t in range(len(members))])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(
        "framed: the group that the task's adapter joins\n"
        f"(threshold {options['similarity_threshold']:g}, "
        f"at most {options['max_groups']} groups)"
    )


def _frame(axes: Axes, task: int, group: int, *, opens: bool) -> None:
    """Frame the cell of the group that a task's adapter went to."""
    colour, _ = GROUP_STYLES[group % len(GROUP_STYLES)]
    corner = (group - 0.46, task - 0.44)
    axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, ec=colour, lw=3))
    if opens:
        axes.text(group, task, "opens it", ha="center", va="center", style="italic")


def draw_alphas(axes: Axes, groups: Mapping[str, Any]) -> None:
    """Draw the groups' alphas as lines and each new adapter's as an open marker."""
    members, alphas = groups["members"], groups["alphas"]
    n_tasks = len(members)
    after = [task["start"] for task in alphas[1:]] + [[*groups["group_alphas"], None]]
    for group in range(max(members) + 1):
        colour, marker = GROUP_STYLES[group % len(GROUP_STYLES)]
        tasks = range(members.index(group), n_tasks)
        values = [after[t][group] for t in tasks]
        axes.plot([t + 1 for t in tasks], values, "-", color=colour, marker=marker, lw=2)
        axes.annotate(
            f"group {group + 1}", (n_tasks, values[-1]), xytext=(9, 0), va="center",
            textcoords="offset points", color=colour, weight="bold",
        )  # fmt: skip
        joined = [t for t in range(n_tasks) if members[t] == group]
        axes.plot(
            [t + 1 for t in joined], [alphas[t]["end"][-1] for t in joined], marker,
            mfc="none", mec=colour, mew=1.8, ms=10,
        )  # fmt: skip
    axes.axhline(alphas[0]["start"][0], color=GREY, ls=":", lw=1.2, zorder=0)
    _dress(axes, "Importance alpha after each task (Eq. 4)", n_tasks)
    kinds = "tasks learned\nopen: a new adapter's; filled: a group's"
    axes.set(xlabel=kinds, ylabel="alpha", xlim=(0.8, 1.2 * n_tasks))
    axes.ticklabel_format(axis="y", useOffset=False)
