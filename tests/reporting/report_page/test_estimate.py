"""Mean and interval over seeds."""

import pytest
from scipy import stats

from avalanche_ham.reporting.report_page.estimate import Estimate, estimate


def of(*values):
    return [{"seed": seed, "aa": value} for seed, value in enumerate(values)]


def test_the_interval_is_students():
    found = estimate(of(50.0, 52.0, 57.0), "aa")
    low, high = stats.t.interval(0.95, 2, loc=53.0, scale=stats.sem([50.0, 52.0, 57.0]))
    assert found == pytest.approx((53.0, low, high, 3))
    assert found.words(1) == f"53.0 ± {high - 53:.1f}"


def test_one_seed_has_a_mean_alone():
    assert estimate(of(50.0), "aa") == Estimate(50.0, None, None, 1)
    assert estimate(of(50.0), "aa").words() == "50.00"


def test_what_no_seed_knows_is_a_dash():
    assert estimate(of(None, None), "aa") == Estimate(None, None, None, 0)
    assert estimate(of(None), lambda record: None).words() == "–"


def test_a_seed_without_the_number_does_not_count():
    assert estimate(of(50.0, None), "aa").n == 1


def test_an_interval_of_no_width_goes_without_saying():
    assert estimate(of(1234.0, 1234.0), "aa").words(0) == "1,234"
