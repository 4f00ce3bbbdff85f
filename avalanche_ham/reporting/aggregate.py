"""The arithmetic of a table's cells: mean, sample deviation, differences, averages."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from avalanche_ham.reporting.paper import Value
from avalanche_ham.runs.records import Record


@dataclass(frozen=True)
class Summary:
    """One cell of a table.

    Attributes:
        mean: over ``n`` runs, None if there is none.
        std: sample standard deviation (divided by n - 1), None for fewer than two runs.
        n: number of finished runs that have the number.
        missing: number of runs not made yet.
        failed: number of runs that failed.
        undefined: number of finished runs that have no such number.
        paper: the paper's value for this cell.
        text: words instead of a number.
        no_data: nothing is there and the data set is missing too.
        interval: its two ends, where the cell is one.
    """

    mean: float | None = None
    std: float | None = None
    n: int = 0
    missing: int = 0
    failed: int = 0
    undefined: int = 0
    paper: Value | None = None
    text: str | None = None
    no_data: bool = False
    interval: tuple[float, float] | None = None

    @property
    def total(self) -> int:
        """Number of runs that the cell is made of."""
        return self.n + self.missing + self.failed + self.undefined


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Give mean and sample standard deviation (n - 1); None where they are undefined."""
    if not values:
        return None, None
    return statistics.fmean(values), (statistics.stdev(values) if len(values) > 1 else None)


def average_of(cells: Sequence[Summary]) -> Summary:
    """Average a row over its columns, ours over the same ones as the paper's.

    The deviation is that of independent errors, ``sqrt(sum_i s_i^2) / n``, as in the
    paper's Tables 1 and 2. With a cell missing the average is missing, so that two averages
    in one column are never over different columns. Its runs are those of the cell that has
    the fewest.

    Args:
        cells: the row's cells in the columns averaged over, at least one.
    """
    fewest = min(cells, key=lambda c: c.n)
    papers = [c.paper for c in cells]
    known = [p for p in papers if p is not None]
    paper = None
    if len(known) == len(papers):
        paper = Value(*_average([(p.mean, p.std) for p in known]))
    means = [(c.mean, c.std) for c in cells if c.mean is not None]
    if len(means) < len(cells):
        return replace(fewest, paper=paper)
    mean, std = _average(means)
    return replace(fewest, mean=mean, std=std, paper=paper)


def _average(pairs: Iterable[tuple[float, float | None]]) -> tuple[float, float | None]:
    means, deviations = zip(*pairs)
    known = [s for s in deviations if s is not None]
    std = math.sqrt(sum(s * s for s in known)) / len(means) if len(known) == len(means) else None
    return statistics.fmean(means), std


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Give Spearman's rank correlation in [-1, 1]; equal values share their mean rank.

    None where one side is all equal.

    Args:
        pairs: the two values of each thing that is ranked, at least two.
    """
    import pandas  # takes half a second, which few tables need

    rho = float(pandas.DataFrame(pairs).corr("spearman").iloc[0, 1])
    return None if math.isnan(rho) else rho


def sampling_error(row: Sequence[float], images: Sequence[int]) -> float:
    """Give the standard error of an AA that comes from counting test images, in points.

    ``100 / T * sqrt(sum_j p_j (1 - p_j) / n_j)``: the binomial errors of T tasks, independent.

    Args:
        row: final accuracy p_j of each task, fractions in [0, 1].
        images: number of test images n_j of each task.
    """
    variance = sum(p * (1 - p) / n for p, n in zip(row, images, strict=True))
    return 100 * math.sqrt(variance) / len(row)


def counting_error(records: Sequence[Record]) -> tuple[int, float]:
    """Give how many test images an AA of these runs rests on, and its ``sampling_error``.

    Both are the largest among the runs.
    """
    images = max(sum(record["test_images"]) for record in records)
    finals = [[value or 0.0 for value in record["accuracy_matrix"][-1]] for record in records]
    errors = [sampling_error(row, r["test_images"]) for row, r in zip(finals, records)]
    return images, max(errors)
