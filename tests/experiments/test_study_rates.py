"""The search for rates leaves out no method, and tries the default of each one's own option."""

from __future__ import annotations

import pytest

from avalanche_ham.runs.options import options_of
from avalanche_ham.runs.presets import SAME_RATE
from avalanche_ham.runs.settings import resolve
from avalanche_ham.strategies.registry import METHODS


def of_scores(script, scores):
    """Make a search whose accuracies are given by value."""
    search = script.Search.__new__(script.Search)
    search.scores = lambda method, grid: [scores(values) for values in grid]
    return search


def test_every_method_that_trains_is_searched_or_takes_another_s_rate():
    import study_rates as script

    idle = {"ncm", "ridge"}
    assert {*script.NAMES} == METHODS.keys() - SAME_RATE.keys() - idle
    assert {*SAME_RATE.values()} <= {*script.NAMES}
    assert len({*script.NAMES}) == len(script.NAMES)


def test_own_options_are_the_methods_and_their_defaults_are_tried_with_two_others():
    import study_rates as script

    for method, (name, values) in script.OWN.items():
        options, given = options_of(method), [resolve(method, {name: v})[name] for v in values]
        assert options[name].default in given, method
        assert len({*map(repr, given)}) == len(values) >= 3, method
    without = {"finetune", "linear", "frozen", "lora", "joint", "fsa", "independent"}
    assert {*script.NAMES} - {*script.OWN} == without


@pytest.mark.parametrize(
    ("method", "best", "said"),
    [
        ("pam", 0.5, "0.5"),
        ("pam", 0.75, "0.75 (at the end)"),
        ("slao", "inverse", "inverse (at the end)"),
        ("slao", "sqrt", "sqrt"),
        ("i_lora", None, "none"),
        ("ewc", 10, "10 (at the end)"),
    ],
)
def test_a_value_of_the_own_option_that_wins_at_an_end_is_said(method, best, said):
    import study_rates as script

    name, values = script.OWN[method]
    search = of_scores(script, lambda v: [50.0 + (v.get(name, "") == best), 60.0])
    (line,) = list(script.table(search, (method,)))[2:]
    assert line.endswith(f"| {said} |")
    assert f"{name}: {script._word(values[0])} 5" in line


def test_a_method_that_is_its_head_has_one_score_a_rate():
    import study_rates as script

    words = ["--records", "R", "--preset", "smoke", "--benchmark", "digits"]
    search = script.Search.__new__(script.Search)
    search.options, search.heads = script.parse(words), script.HEADS
    assert [run.head for run in search.runs("independent", {})] == ["linear"]
    assert [run.head for run in search.runs("joint", {})] == ["linear", "ridge"]
