"""The search for rates leaves out no method, and tries the default of each one's own option."""

from __future__ import annotations

import pytest

from avalanche_ham.runs.options import options_of
from avalanche_ham.runs.presets import SAME_RATE, preset_values
from avalanche_ham.runs.settings import resolve
from avalanche_ham.strategies.registry import METHODS


def of_scores(script, scores):
    """Make a search whose accuracies are given by value."""
    search = script.Search.__new__(script.Search)
    search.options = script.parse(["--records", "R"])
    search.scores = lambda method, grid: [scores(values) for values in grid]
    return search


def own_options(script):
    return [(m, name, values) for m, own in script.OWN.items() for name, values in own.items()]


def test_every_method_that_trains_is_searched_or_takes_another_s_rate():
    import study_rates as script

    idle = {"ncm", "ridge"}
    assert {*script.NAMES} == METHODS.keys() - SAME_RATE.keys() - idle
    assert {*SAME_RATE.values()} <= {*script.NAMES}
    assert len({*script.NAMES}) == len(script.NAMES)


def test_own_options_are_the_methods_and_their_defaults_are_tried_with_two_others():
    import study_rates as script

    for method, name, values in own_options(script):
        options, given = options_of(method), [resolve(method, {name: v})[name] for v in values]
        assert options[name].default in given, method
        assert len({*map(repr, given)}) == len(values) >= 3, method
    without = {"finetune", "linear", "frozen", "lora", "joint", "fsa", "independent"}
    assert {*script.NAMES} - {*script.OWN} == without


@pytest.mark.parametrize(
    ("method", "best", "said"),
    [
        ("o_lora", 0.5, "0.5"),
        ("o_lora", 5.0, "5"),  # beyond it 50 was no better
        ("slao", "inverse", "inverse (at the end)"),
        ("slao", "sqrt", "sqrt"),
        ("i_lora", None, "none"),
        ("ewc", 10, "10"),
        ("sd_lora", 1.0, "1"),
    ],
)
def test_a_value_of_the_own_option_that_wins_at_an_end_is_said(method, best, said):
    import study_rates as script

    ((name, values),) = script.OWN[method].items()
    search = of_scores(script, lambda v: [50.0 + (v.get(name, "") == best), 60.0])
    line = list(script.tables(search, (method,)))[-1]
    assert line.endswith(f"| {said} |") and f"| `{name}` |" in line
    assert f"{script._word(best)}: **51.0 / 60.0**" in line
    assert f"{script._word(values[0])}: " in line


def test_a_value_that_wins_at_an_end_of_the_list_is_followed_twice_at_most():
    import study_rates as script

    tried = []

    def scores(values):
        tried.append(values["lwf_strength"])
        return [60.0 - values["lwf_strength"], 50.0]  # the smaller the better

    found, chosen = script.own_of(of_scores(script, scores), "lora_lwf", 2e-4, "lwf_strength")
    assert chosen == "0.01 (at the end)" and {*tried} == {*found}
    assert list(found) == [0.01, 0.03, 0.1, 0.3, 1.0, 3.0] and found[0.1] == [59.9, 50.0]
    for method, name, values in own_options(script):
        below, above = script.BEYOND_OF.get(method, script.BEYOND.get(name, ((), ())))
        for value in (*below, *above):
            resolve(method, {name: value})
        numbers = [v for v in (*below[::-1], *values, *above) if isinstance(v, (int, float))]
        assert numbers == sorted(numbers), method


def test_rates_are_tried_at_the_method_s_own_defaults_whatever_the_preset_has():
    import study_rates as script

    seen = []
    search = of_scores(script, lambda values: seen.append(values) or [1.0, 1.0])
    script.rate_of(search, "lora_lwf")
    assert preset_values("study", "cifar100", "lora_lwf")["lwf_strength"] != 1.0
    assert {values["lwf_strength"] for values in seen} == {1.0}


def test_an_own_option_is_tried_at_the_defaults_of_the_others(monkeypatch):
    import study_rates as script

    moved = {"lr": 2e-3, "damping": 0.25, "align_share": 0.9}
    monkeypatch.setitem(script.METHOD_OVERRIDES, ("study", "pam"), moved)
    seen = []
    search = of_scores(script, lambda values: seen.append(values) or [1.0, 1.0])
    script.own_of(search, "pam", 2e-3, "align_share")
    assert {values["damping"] for values in seen} == {1.0}
    assert {values["align_share"] for values in seen} > {0.25, 0.5}


def test_a_winner_beside_a_value_that_was_not_tried_is_at_the_end():
    import study_rates as script

    failed = of_scores(script, lambda v: None if v["threshold"] == 8.0 else [v["threshold"], 1.0])
    assert script.own_of(failed, "sema", 0.006, "threshold")[1] == "4 (at the end)"


def test_an_own_option_whose_values_are_not_on_record_is_named_below_the_table():
    import study_rates as script

    def scores(values):
        return None if values.get("damping") == 0.25 else [1.0, 1.0]

    search = of_scores(script, scores)
    pam = list(script.tables(search, ("pam",)))[-2:]  # a line each
    assert [line.split(" | ")[1] for line in pam] == ["`align_share`", "`damping`"]
    search.options.dry = True
    *lines, last = script.tables(search, ("average", "slao"))
    assert last == "\nNot all values on record: Average of an evolving LoRA (`damping`)."
    assert lines[-1].startswith("| SLAO | `merge_weight` |")
    search.options.dry = False  # it failed
    assert any("0.25: -, " in line for line in script.tables(search, ("average",)))


def test_an_unknown_method_is_one_line(tmp_path):
    import study_rates as script

    with pytest.raises(SystemExit, match="methods must be of .*ham.* but got 'nope'"):
        script.main(["--records", str(tmp_path), "--methods", "ham,nope", "--dry"])


def test_a_method_that_is_its_head_has_one_score_a_rate():
    import study_rates as script

    words = ["--records", "R", "--preset", "smoke", "--benchmark", "digits"]
    search = script.Search.__new__(script.Search)
    search.options, search.heads = script.parse(words), script.HEADS
    assert [run.head for run in search.runs("independent", {})] == ["linear"]
    assert [run.head for run in search.runs("joint", {})] == ["linear", "ridge"]
