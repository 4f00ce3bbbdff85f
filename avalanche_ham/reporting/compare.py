"""Two methods against each other: the paired difference and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.cells import Found, Statistic, mean_of
from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.paper import DATA_SETS
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import HEADS, Column, Line, Table

if TYPE_CHECKING:
    from avalanche_ham.evaluation.significance import Interval


def table_compare(setup: Setup) -> Table:
    """Give a block per data set and length, a row per head; ``setup.methods`` are the two."""
    ours, theirs = (Line(LABELS.get(m, m), m) for m in setup.methods or ("ham", "frozen"))
    over_seeds, over_images = _words(interval_over_seeds), _words(interval_over_images)
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


def _words(interval: Callable[[Found], Interval | str]) -> Statistic:
    """Show an interval, or why there is none."""

    def statistic(found: Found) -> Summary:
        words = interval(found)
        if not isinstance(words, str):
            words = f"{words.low:+.2f} to {words.high:+.2f}{' *' if words.tells else ''}"
        return Summary(n=len(found), text=words)

    return statistic


def interval_over_seeds(found: Found) -> Interval | str:
    """Give the interval over seeds, or in words why there is none."""
    from avalanche_ham.evaluation.significance import over_seeds  # scipy takes half a second

    scores: tuple[dict[int, float], dict[int, float]] = {}, {}
    for pair in found:
        for side, record in zip(scores, pair, strict=True):
            if record["aa"] is not None:
                side[record["seed"]] = record["aa"]
    return over_seeds(*scores) or f"seeds in common: {len(found)}"


def interval_over_images(found: Found) -> Interval | str:
    """Give the interval over test images, or in words why there is none."""
    from avalanche_ham.evaluation.significance import over_images
    from avalanche_ham.runs.packed import unpack

    if not found:
        return "no pair"
    for a, b in found:
        if a["right"] is None or b["right"] is None:
            return "which images were right is not on record"
        if any(a[key] != b[key] for key in ("images_digest", "class_order_hash")):
            return "on different images"
    sizes = [ours["test_images"] for ours, _ in found]
    ours, theirs = (
        [unpack(pair[side]["right"], sum(n)) for pair, n in zip(found, sizes)] for side in (0, 1)
    )
    return over_images(ours, theirs, sizes)
