"""Whether a difference between two cells is more than noise: over seeds, or over test images."""

from __future__ import annotations

from avalanche_ham.evaluation.significance import Interval, over_images, over_seeds
from avalanche_ham.reporting.cells import Metric, Score, number
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.packed import unpack
from avalanche_ham.runs.records import Record


def within_noise(cell: Score, best: Score, archive: Archive) -> bool:
    """Whether a cell may be as good as the best of its column, for all that is on record.

    With two seeds in common the paired interval over seeds decides, with one that over its test
    images, which only an AA has; without either nothing is known, and nothing is said.
    """
    pairs = pairs_of(cell, best, archive)
    found = interval_over_seeds(pairs, cell.metric)
    if not isinstance(found, Interval) and all(cell.metric(a) == a["aa"] for a, _ in pairs):
        found = interval_over_images(pairs)
    return isinstance(found, Interval) and not found.tells


def pairs_of(left: Score, right: Score, archive: Archive) -> list[tuple[Record, Record]]:
    """Pair the records of two scores seed by seed, where both are there."""
    theirs = {run.seed: archive.record(run) for run in right.runs}
    found = ((archive.record(run), theirs.get(run.seed)) for run in left.runs)
    return [(a, b) for a, b in found if a is not None and b is not None]


def interval_over_seeds(
    pairs: list[tuple[Record, Record]], metric: Metric = number("aa")
) -> Interval | str:
    """Give the interval over seeds, or in words why there is none."""
    scores: tuple[dict[int, float], dict[int, float]] = {}, {}
    for pair in pairs:
        for side, record in zip(scores, pair, strict=True):
            if (value := metric(record)) is not None:
                side[record["seed"]] = value
    return over_seeds(*scores) or f"seeds in common: {len(pairs)}"


def interval_over_images(pairs: list[tuple[Record, Record]]) -> Interval | str:
    """Give the interval over test images, or in words why there is none."""
    if not pairs:
        return "no pair"
    for a, b in pairs:
        if a["right"] is None or b["right"] is None:
            return "which images were right is not on record"
        if any(a[key] != b[key] for key in ("images_digest", "class_order_hash")):  # type: ignore
            return "on different images"
    sizes = [a["test_images"] for a, _ in pairs]
    left, right = (
        [unpack(str(pair[side]["right"]), sum(n)) for pair, n in zip(pairs, sizes)]
        for side in (0, 1)
    )
    return over_images(left, right, sizes)
