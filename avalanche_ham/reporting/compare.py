"""Two methods against each other: the paired difference and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.cells import Found, Statistic, mean_of
from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.noise import interval_over_images, interval_over_seeds
from avalanche_ham.reporting.paper import DATA_SETS
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import HEADS, Column, Line, Table

if TYPE_CHECKING:
    from avalanche_ham.evaluation.significance import Interval


def table_compare(setup: Setup) -> Table:
    """Give a block per data set and length, a row per head; ``setup.methods`` are the two."""
    ours, theirs = (Line(LABELS.get(m, m), m) for m in setup.methods or ("ham", "frozen"))
    over_seeds = interval_words(interval_over_seeds)
    over_images = interval_words(interval_over_images)
    return Table(
        f"{ours.label} against {theirs.label}",
        columns=[
            *(Column(f"{side.label}, AA (%)", mean_of("aa"), of=side) for side in (ours, theirs)),
            Column("difference", mean_of("aa"), of=ours, minus=theirs),
            Column("95 % over seeds", over_seeds, of=ours, minus=theirs),
            Column("95 % over test images", over_images, of=ours, minus=theirs),
        ],
        rows=[Line("")],
        row_title="Head",
        benchmarks=sorted(setup.known) or DATA_SETS,
        lengths=[10, 50],
        heads=tuple(HEADS),
        blocks=["benchmark", "n_tasks"],
        down=["head"],
        notes=[
            "difference: the mean over seeds that both have, and its deviation",
            "over seeds: t interval of the paired differences, what other seeds would bring; over "
            "test images: bootstrap within tasks, what other images would bring to these very "
            "runs; an interval without 0 is marked *",
        ],
    )


def interval_words(interval: Callable[[Found], Interval | str]) -> Statistic:
    """Show an interval of two runs' difference, or why there is none."""

    def statistic(found: Found) -> Summary:
        words = interval(found)
        if not isinstance(words, str):
            words = f"{words.low:+.2f} to {words.high:+.2f}{' *' if words.tells else ''}"
        return Summary(n=len(found), text=words)

    return statistic
