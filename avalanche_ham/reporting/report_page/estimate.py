"""A number over seeds with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from avalanche_ham.evaluation.significance import over_seeds
from avalanche_ham.reporting.aggregate import mean_and_deviation


class Estimate(NamedTuple):
    """What seeds say of a number.

    Attributes:
        mean: over the ``n`` seeds that have it, None if there is none.
        low, high: ends of the 95 % t interval of the mean, None for fewer than two seeds.
        n: number of seeds.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def words(self, digits: int = 2) -> str:
        """Say it as ``57.31 ± 0.42``, half the interval behind the mean unless it has no width."""
        if self.mean is None:
            return "–"
        half = 0.0 if self.high is None else self.high - self.mean
        spread = f" ± {half:,.{digits}f}" if half else ""
        return f"{self.mean:,.{digits}f}{spread}"


def estimate(
    records: Sequence[Mapping[str, Any]], read: str | Callable[[Mapping[str, Any]], float | None]
) -> Estimate:
    """Give the mean of a number and its interval.

    Args:
        records: one per seed.
        read: name of an entry, or record -> number; None where a record says nothing.
    """
    found = {r["seed"]: r.get(read) if isinstance(read, str) else read(r) for r in records}
    known = {seed: value for seed, value in found.items() if value is not None}
    mean, _ = mean_and_deviation(list(known.values()))
    interval = over_seeds(known, dict.fromkeys(known, 0.0))
    low, high = interval or (None, None)
    return Estimate(mean, low, high, len(known))
