"""Whether a difference between two cells is more than noise: over seeds, or over test images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from avalanche_ham.reporting.cells import Cell, Found
from avalanche_ham.runs.archive import Archive

if TYPE_CHECKING:
    from avalanche_ham.evaluation.significance import Interval


def within_noise(cell: Cell, best: Cell, archive: Archive) -> bool:
    """Whether a cell may be as good as the best of its column, for all that is on record.

    The paired interval over seeds decides; with one seed in common, or the same difference in all,
    that over test images, which only an AA has. Without either nothing is known, and nothing said.
    """

    def number(record: Mapping[str, Any]) -> float | None:
        return cell.statistic([[record]]).mean

    ours, theirs = (
        {runs[0].seed: archive.record(runs[0]) for runs in side.seeds if len(runs) == 1}
        for side in (cell, best)
    )
    pairs = ((record, theirs.get(seed)) for seed, record in ours.items())
    found = [(a, b) for a, b in pairs if a is not None and b is not None]
    interval = interval_over_seeds(found, number)
    if isinstance(interval, str) and all(number(a) == a["aa"] for a, _ in found):
        interval = interval_over_images(found)
    return not isinstance(interval, str) and not interval.tells


def interval_over_seeds(
    found: Found, number: Callable[[Mapping[str, Any]], float | None] = itemgetter("aa")
) -> Interval | str:
    """Give the interval over seeds, or in words why there is none."""
    from avalanche_ham.evaluation.significance import over_seeds  # scipy takes half a second

    scores: tuple[dict[int, float], dict[int, float]] = {}, {}
    for pair in found:
        for side, record in zip(scores, pair, strict=True):
            if (value := number(record)) is not None:
                side[record["seed"]] = value
    common = len(scores[0].keys() & scores[1].keys())
    if common < 2:
        return f"seeds in common: {common}"
    return over_seeds(*scores) or f"the same difference in {common} seeds"


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
