"""How many seeds a difference of two methods needs, by how such differences vary on record."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from avalanche_ham.reporting.headroom import alike, classes_of, is_plain
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.records import Record

DIFFERENCES = (1.0, 2.0, 5.0)  # points
MOST = 1000  # seeds that nobody will run


class Spread(NamedTuple):
    """How the difference of two methods under one head varies over seeds.

    Attributes:
        deviation: sample deviation in points, pooled over all pairs.
        tasks: of the runs that it is of.
    """

    deviation: float
    tasks: int


def spread_on(archive: Archive, record: Record) -> Spread | None:
    """Give the spread on the instrument of a record, at its number of tasks if that is known."""
    keys = ("benchmark", "preset", "backbone", "image_size", "weights_digest")
    there = alike(archive, {key: record.get(key) for key in keys})
    plain = [r for r in there if is_plain(r) and classes_of(r) == classes_of(record)]
    return spread_of(plain, record["n_tasks"])


def spread_of(records: Sequence[Record], tasks: int) -> Spread | None:
    """Pool the sample deviation of the difference of two methods over the seeds that both have.

    Args:
        records: on one instrument, with no options but the preset's.
        tasks: the number of tasks that is asked about; where no two methods share three seeds
            there, that of the runs with most of them is taken.

    Returns:
        None where no two methods have three seeds in common under one head.
    """
    groups: dict[tuple[int, str], dict[str, dict[int, float]]] = defaultdict(dict)
    for record in records:
        if record["aa"] is not None:
            methods = groups[record["n_tasks"], record["head"]]
            methods.setdefault(record["method"], {})[record["seed"]] = record["aa"]
    found: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])  # squares, degrees of freedom
    for (length, _), methods in groups.items():
        for ours, theirs in itertools.combinations(methods.values(), 2):
            differences = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
            if len(differences) >= 3:
                found[length][0] += statistics.variance(differences) * (len(differences) - 1)
                found[length][1] += len(differences) - 1
    if not found:
        return None
    length = tasks if tasks in found else max(found, key=lambda key: (found[key][1], key))
    squares, freedom = found[length]
    return Spread(math.sqrt(squares / freedom), length)


def seeds_needed(deviation: float, difference: float) -> int | None:
    """Give the number of shared seeds at which a difference exceeds its own 95 % interval.

    The smallest n with ``t(0.975, n - 1) * s / sqrt(n) <= d``: the paired interval that tables
    give, ``evaluation.significance.over_seeds``.

    Args:
        deviation: s, of the difference of two methods over seeds, in points.
        difference: d, in points, above 0.

    Returns:
        None where it takes more than ``MOST``.
    """
    from scipy.special import stdtrit  # a fraction of a second, for which a table need not wait

    for n in range(2, MOST + 1):
        if stdtrit(n - 1, 0.975) * deviation / math.sqrt(n) <= difference:
            return n
    return None


def seeds_in_words(spread: Spread) -> str:
    """Say it in a line."""
    needed = ((d, seeds_needed(spread.deviation, d)) for d in DIFFERENCES)
    words = ", ".join(f"{d:g} points {n or f'more than {MOST}'}" for d, n in needed)
    return (
        "The difference of two methods under one head deviates over seeds by "
        f"{spread.deviation:.2f} points ({spread.tasks} tasks); shared seeds "
        f"needed for a difference of {words}."
    )
