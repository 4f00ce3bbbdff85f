"""Errors of one line: what a range lets pass, and which names an unknown one is told."""

from __future__ import annotations

import pytest

from avalanche_ham.errors import OptionError, UnknownNameError, check_range


@pytest.mark.parametrize(
    ("value", "low", "high", "open_low", "message"),
    [
        (0.0, 0.0, 1.0, True, "x must be above 0 and at most 1, but got 0.0"),
        (-1, 0, float("inf"), False, "x must be at least 0, but got -1"),
        (2.5, 0.0, 1.0, False, "x must be at least 0 and at most 1, but got 2.5"),
        (float("nan"), 0.0, 1.0, False, "but got nan"),
    ],
)
def test_a_number_outside_its_range_is_refused(value, low, high, open_low, message):
    with pytest.raises(OptionError, match=message):
        check_range("x", value, low, high, open_low=open_low)


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_number_inside_its_range_passes_ends_included(value):
    check_range("x", value, 0, 1)


def test_an_unknown_name_far_from_all_lists_what_there_is_unless_that_is_too_much():
    message = str(UnknownNameError("method", "xyzzy", ["lora", "ham"]))
    assert message == "method must be one of ham, lora, but got 'xyzzy'"
    message = str(UnknownNameError("backbone", "b7x", [f"b{k}" for k in range(500)]))
    assert message == "backbone must be one of 500 names, but got 'b7x' (did you mean 'b7'?)"


@pytest.mark.parametrize("value", [True, False])
def test_a_truth_is_no_number_in_a_range(value):
    with pytest.raises(
        OptionError, match=f"keep must be at least 0 and at most 1, but got {value}"
    ):
        check_range("keep", value, 0.0, 1.0)
    check_range("keep", float(value), 0.0, 1.0)
