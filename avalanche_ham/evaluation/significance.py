"""Whether two methods differ: over seeds that both have, and over the test images both saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes half a second more

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
    n, mean = len(differences), float(np.mean(differences))
    half = stdtrit(n - 1, (1 + LEVEL) / 2) * np.std(differences, ddof=1) / n**0.5
    return Interval(mean - float(half), mean + float(half))


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
    An image is right for both, for neither, or for one of them. Tasks of as many images are drawn
    together, from the distribution of their sum. Seeds may share test images, so their errors need
    not cancel: the interval is the mean of the seeds' own, as if all had the same images, and too
    wide rather than too narrow where they do not.

    Args:
        ours, theirs: for each seed, which test image was right, bool ``(N,)``, in one order.
        sizes: for each seed, the number of test images of each task; they add up to N.
        resamples: at least 1.
        seed: of the resampling.

    Raises:
        ValueError: if the two did not see the same number of images.
    """
    draw = np.random.default_rng(seed)
    bounds = []
    for mine, other, counts in zip(ours, theirs, sizes, strict=True):
        if not len(mine) == len(other) == sum(counts):
            found = f"{len(mine)}, {len(other)} and {sum(counts)}"
            raise ValueError(f"the numbers of test images differ: {found}")
        difference = mine.astype(int) - other.astype(int)
        sign = -1 if _is_behind(difference) else 1  # so that of B less A is minus that of A less B
        alike: dict[int, list[np.ndarray]] = defaultdict(list)  # number of images -> such tasks
        for task in np.split(sign * difference, np.cumsum(counts)[:-1]):
            alike[len(task)].append(task)
        total = np.zeros(resamples)
        for size, tasks in alike.items():
            values, chances = sum_of_resampled(tasks)
            sums = draw.choice(values, size=resamples, p=chances)
            total += 100 / (size * len(counts)) * sums
        tail = 100 * (1 - LEVEL) / 2
        bounds.append(np.percentile(sign * total, [tail, 100 - tail]))
    low, high = np.mean(bounds, axis=0)
    return Interval(float(low), float(high))


def _is_behind(difference: np.ndarray) -> bool:
    """Whether more images are right for the second; of as many, whether the first such one is."""
    found = difference[difference != 0]
    return bool(found.sum() < 0 or (found.sum() == 0 and found.size and found[0] < 0))


def sum_of_resampled(tasks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Give the distribution of the sum of all differences when each task is resampled.

    Its characteristic function is the product of those of single images,
    ``p(0) + p(1) e^iw + p(-1) e^-iw`` with the shares p of the image's task.

    Args:
        tasks: of each the differences, -1, 0 or 1, of its images, ``(n,)``.

    Returns:
        The values from -N to N, N images in all, and their probabilities.
    """
    n = sum(map(len, tasks))
    turn = np.exp(2j * np.pi * np.arange(2 * n + 1) / (2 * n + 1))
    function = np.ones(2 * n + 1, dtype=complex)
    for task in tasks:
        none, more, less = (np.mean(task == value) for value in (0, 1, -1))
        function *= (none + more * turn + less / turn) ** len(task)
    chances = np.clip(np.roll(np.fft.fft(function).real, n), 0, None)  # but for rounding
    return np.arange(-n, n + 1), chances / chances.sum()
