"""What differs is said, what is usual goes without saying."""

from avalanche_ham.reporting.report_page.naming import deviations


def test_the_most_frequent_value_goes_without_saying():
    runs = [{"rank": 8, "lr": 0.1}, {"rank": 16, "lr": 0.1}, {"rank": 8, "lr": 0.5}]
    assert deviations(runs) == ["", "rank 16", "lr 0.5"]


def test_among_equally_frequent_values_the_usual_one_goes_without_saying():
    runs = [{"max_groups": 5}, {"max_groups": 2}]
    assert deviations(runs, {"max_groups": 2}) == ["max groups 5", ""]
    assert deviations(runs, {"max_groups": 5}) == ["", "max groups 2"]


def test_things_that_differ_never_get_the_same_words():
    runs = [{"a": a, "b": b} for a in (1, 2, None) for b in (True, False)]
    assert len(set(deviations(runs))) == len(runs)


def test_one_as_a_whole_and_as_a_decimal_number_are_the_same():
    assert deviations([{"keep": 1}, {"keep": 1.0}]) == ["", ""]


def test_an_absent_entry_is_none():
    assert deviations([{}, {}, {"slots": ("q", "v")}]) == ["", "", "slots q,v"]
