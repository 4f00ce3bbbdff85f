"""How many seeds a difference needs: the paired interval of the tables, solved for n."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from made_up_records import made_up
from scipy import stats

from avalanche_ham.reporting.headroom import headroom_runs
from avalanche_ham.reporting.seeds import (
    Spread,
    seeds_in_words,
    seeds_needed,
    spread_of,
    spread_on,
)
from avalanche_ham.runs.config import RunConfig

COMMON = {"benchmark": "cifar100", "n_tasks": 10, "preset": "cpu"}


def records_of(groups, n_tasks=10, head="ridge"):
    (like,) = headroom_runs(COMMON, (1,))[:1]
    return [
        made_up(like, method=method, aa=aa, seed=seed, n_tasks=n_tasks, head=head)
        for method, values in groups.items()
        for seed, aa in enumerate(values)
    ]


def test_the_spread_is_that_of_paired_differences_within_a_head_and_a_length():
    groups = {"ham": [40.0, 44.0, 42.0], "lora": [10.0, 11.0, 15.0, 12.0], "frozen": [1.0, 90.0]}
    records = [*records_of(groups), *records_of({"ham": [0.0, 50.0, 9.0]}, head="ncm")]
    expected = statistics.stdev([30.0, 33.0, 27.0])
    assert spread_of(records, 10) == pytest.approx((expected, 10))
    longer = records_of(
        {"ham": [1.0, 5.0, 2.0], "lora": [1.0, 2.0, 1.0], "ties": [3.0, 1.0, 4.0]}, 50
    )
    pairs = [[0.0, 3.0, 1.0], [-2.0, 4.0, -2.0], [-2.0, 1.0, -3.0]]
    pooled = np.sqrt(np.mean([statistics.variance(pair) for pair in pairs]))
    assert spread_of([*records, *longer], 50) == pytest.approx((pooled, 50))
    assert spread_of([*records, *longer], 20) == pytest.approx((pooled, 50))  # most pairs
    assert spread_of(records_of({"ham": [1.0, 2.0, 3.0]}), 10) is None


@pytest.mark.parametrize(("deviation", "difference"), [(1.0, 1.0), (2.0, 5.0), (2.9, 1.0)])
def test_with_so_many_seeds_the_difference_is_significant_and_with_one_less_not(
    deviation, difference
):
    def p_value(n):
        spread = np.linspace(-1, 1, n)
        return stats.ttest_1samp(deviation * spread / spread.std(ddof=1) + difference, 0.0).pvalue

    n = seeds_needed(deviation, difference)
    assert p_value(n) <= 0.05
    assert n == 2 or p_value(n - 1) > 0.05
    assert seeds_needed(100.0, 1.0) is None


def test_runs_with_options_of_their_own_and_other_instruments_do_not_count(archive_of):
    def runs(method, aas, **asked):
        return [
            (RunConfig(method=method, seed=seed, head="ridge", **{**COMMON, **asked}), {"aa": aa})
            for seed, aa in enumerate(aas, 1)
        ]

    pairs = [*runs("ham", [44.0, 48.0, 52.0]), *runs("lora", [41.0, 42.0, 43.0])]
    others = [
        *runs("ham", [1.0, 90.0, 3.0], options={"keep": 0.3}),
        *runs("ham", [1.0, 90.0, 3.0], preset="smoke"),
        *runs("lora", [1.0, 9.0, 90.0], preset="smoke"),
    ]
    archive = archive_of(*pairs, *others)
    spread = spread_on(archive, archive.record(pairs[0][0]))
    assert spread == pytest.approx((3.0, 10))
    line = (
        "by 3.00 points (10 tasks); shared seeds needed for a difference of 1 points 38, 2 points"
    )
    assert line in seeds_in_words(spread)
    assert "1 points more than 1000" in seeds_in_words(Spread(90.0, 10))
