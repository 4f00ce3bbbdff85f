"""Intervals of a difference against scipy's t-test and bootstrap."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from avalanche_ham.evaluation.significance import over_images, over_seeds, sum_of_resampled

OURS = {1: 61.3, 2: 60.1, 3: 63.0, 7: 5.0}
THEIRS = {1: 59.1, 2: 59.5, 3: 60.2, 9: 99.0}


def test_the_interval_over_seeds_is_scipy_s_paired_t_on_the_seeds_in_common():
    pairs = [(OURS[seed], THEIRS[seed]) for seed in (1, 2, 3)]
    low, high = stats.ttest_rel(*zip(*pairs, strict=True)).confidence_interval(0.95)
    assert over_seeds(OURS, THEIRS) == pytest.approx((low, high))
    assert over_seeds(THEIRS, OURS) == pytest.approx((-high, -low))


def test_one_seed_says_nothing():
    assert over_seeds({1: 3.0}, {1: 2.0}) is None
    assert not over_seeds({1: 3.0, 2: 1.0}, {1: 1.0, 2: 3.0}).tells


@pytest.mark.parametrize("ours", [OURS, {1: 60.1, 2: 63.3, 3: 61.7}])
def test_differences_without_a_spread_are_no_proof_and_no_warning(ours):
    theirs = {seed: value + 2.78 for seed, value in ours.items()}  # equal but for rounding
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scipy's, of lost precision
        assert over_seeds(ours, theirs) is None
        assert over_seeds(ours, ours) is None


def rights(seed: int, n: int, rate: float) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < rate


def test_the_interval_over_images_is_scipy_s_paired_bootstrap():
    ours, theirs = rights(1, 400, 0.7), rights(2, 400, 0.6)
    found = over_images([ours], [theirs], [[400]])
    oracle = stats.bootstrap(
        (ours.astype(float), theirs.astype(float)),
        lambda a, b, axis: 100 * (a.mean(axis) - b.mean(axis)),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found == pytest.approx((oracle.low, oracle.high), abs=0.5)


def test_small_tasks_count_as_much_as_large_ones():
    ours, theirs, sizes = rights(1, 320, 0.5), rights(11, 320, 0.3), [20, 300]
    variance, mean, start = 0.0, 0.0, 0
    for count in sizes:
        part = (ours.astype(float) - theirs)[start : start + count]
        start += count
        mean += part.mean() / len(sizes)
        variance += part.var() / count / len(sizes) ** 2
    low, high = over_images([ours], [theirs], [sizes])
    assert (low + high) / 2 == pytest.approx(100 * mean, abs=0.5)
    assert (high - low) / 2 == pytest.approx(196 * variance**0.5, rel=0.05)


def test_exchanging_the_two_turns_the_interval_round():
    for seed in range(6):
        ours, theirs = rights(seed, 60, 0.5), rights(seed + 20, 60, 0.5)
        there, back = over_images([ours], [theirs], [[60]]), over_images([theirs], [ours], [[60]])
        assert there == (-back.high, -back.low)
    same_sum = np.array([True, False, True, False]), np.array([False, True, True, False])
    there, back = (over_images([a], [b], [[4]]) for a, b in (same_sum, same_sum[::-1]))
    assert there == (-back.high, -back.low)


def test_seeds_on_the_same_images_do_not_count_as_more_images():
    """Of 200 drawn sets of images, on which three seeds do alike, 95 % must hold the truth."""
    draw, held = np.random.default_rng(0), 0
    for _ in range(200):
        chance = draw.random(100)  # of each image to be told right, whatever the seed
        ours, theirs = (
            [draw.random(100) < chance + gain for _ in range(3)] for gain in (0.05, -0.05)
        )
        truth = np.clip(np.linspace(0, 1, 10001) + 0.05, 0, 1).mean() - (
            np.clip(np.linspace(0, 1, 10001) - 0.05, 0, 1).mean()
        )
        low, high = over_images(ours, theirs, [[100]] * 3, resamples=500)
        held += low <= 100 * truth <= high
    assert held >= 190
    same = [rights(1, 400, 0.6)] * 3, [rights(2, 400, 0.5)] * 3
    thrice, once = over_images(*same, [[400]] * 3), over_images(*(x[:1] for x in same), [[400]])
    assert thrice == pytest.approx(once, abs=0.3)


def test_what_both_got_right_alike_narrows_the_interval():
    ours = rights(1, 400, 0.6)
    theirs = ours.copy()
    theirs[:10] = False
    ours[:10] = True
    paired = over_images([ours], [theirs], [[400]])
    apart = over_images([ours], [rights(5, 400, float(theirs.mean()))], [[400]])
    assert paired.high - paired.low < (apart.high - apart.low) / 2
    assert paired.tells


def test_different_images_are_refused():
    with pytest.raises(ValueError, match="differ: 3, 4 and 4"):
        over_images([rights(1, 3, 0.5)], [rights(1, 4, 0.5)], [[2, 2]])


def test_the_sum_of_resampled_tasks_is_counted_over_all_resamples():
    tasks = [np.array([1, 0, -1]), np.array([1, 1])]
    resamples = itertools.product(*(task for task in tasks for _ in task))
    counts = Counter(sum(drawn) for drawn in resamples)
    whole = sum(counts.values())
    values, chances = sum_of_resampled(tasks)
    expected = [counts[int(value)] / whole for value in values]
    assert values.tolist() == list(range(-5, 6)) and chances == pytest.approx(expected)
