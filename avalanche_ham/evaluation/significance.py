"""Whether two methods differ: over seeds that both have, and over the test images both saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
ROUNDING = 1e-9  # points, by which equal differences of sums of floats differ


class Interval(NamedTuple):
    """Where a difference lies with 95 % confidence, in points."""

    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether it leaves no doubt about the sign."""
        return self.low > 0 or self.high < 0


def over_seeds(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval | None:
    """Give the paired t interval of the mean difference, ours less theirs.

    It says what another seed (order of classes, images, start) would bring.

    Args:
        ours, theirs: seed -> a number, of which the seeds in common count.

    Returns:
        None for fewer than two seeds in common, and where the differences of all are equal: a
        deviation of 0 over a few seeds does not say that it is 0 over all.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    if len(seeds) < 2 or np.ptp(differences) < ROUNDING:
        return None
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(LEVEL)
    return Interval(float(low), float(high))


def over_images(
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    sizes: Sequence[Sequence[int]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Give the bootstrap interval of the difference of AA over the test images, seeds as they are.

    AA is the mean over tasks of each task's accuracy, so images are drawn within their task.
    An image is right for both, for neither, or for one of them: a resample of a task is one
    multinomial draw of these three counts.

    Args:
        ours, theirs: for each seed, which test image was right, bool ``(N,)``, in one order.
        sizes: for each seed, the number of test images of each task; they add up to N.
        resamples: at least 1.
        seed: of the resampling.

    Raises:
        ValueError: if the two did not see the same number of images.
    """
    draw = np.random.default_rng(seed)
    total = np.zeros(resamples)
    for mine, other, counts in zip(ours, theirs, sizes, strict=True):
        if not len(mine) == len(other) == sum(counts):
            found = f"{len(mine)}, {len(other)} and {sum(counts)}"
            raise ValueError(f"the numbers of test images differ: {found}")
        difference = mine.astype(int) - other.astype(int)
        for task in np.split(difference, np.cumsum(counts)[:-1]):
            shares = [np.mean(task == value) for value in (1, -1, 0)]
            better, worse, _ = draw.multinomial(len(task), shares, size=resamples).T
            total += (better - worse) / len(task) / len(counts)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(100 * total / len(ours), [tail, 100 - tail])
    return Interval(float(low), float(high))
