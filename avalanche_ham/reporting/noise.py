"""Whether a difference between two cells is more than noise: over seeds, or over test images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avalanche_ham.reporting.cells import Cell, Found
from avalanche_ham.runs.archive import Archive

if TYPE_CHECKING:
    from avalanche_ham.evaluation.significance import Interval


def within_noise(cell: Cell, best: Cell, archive: Archive) -> bool:
    """Whether a cell may be as good as the best of its column, for all that is on record.

    With two seeds in common the paired interval over seeds decides, with one that over its test
    images, which only an AA has; without either nothing is known, and nothing is said.
    """
    from avalanche_ham.evaluation.significance import over_seeds  # scipy takes half a second

    runs = [{seed[0].seed: seed[0] for seed in c.seeds if len(seed) == 1} for c in (cell, best)]
    pairs = [
        (ours, theirs)
        for seed in runs[0].keys() & runs[1].keys()
        if (ours := archive.record(runs[0][seed])) and (theirs := archive.record(runs[1][seed]))
    ]
    scores: tuple[dict[int, float], dict[int, float]] = {}, {}
    for pair in pairs:
        for c, side, record in zip((cell, best), scores, pair, strict=True):
            if (value := c.statistic([[record]]).mean) is not None:
                side[record["seed"]] = value
    found = over_seeds(*scores)
    is_aa = all(scores[0].get(ours["seed"]) == ours["aa"] for ours, _ in pairs)
    if found is None and is_aa:
        words = interval_over_images(pairs)
        found = None if isinstance(words, str) else words
    return found is not None and not found.tells


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
