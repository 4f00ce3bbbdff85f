"""From plain values to a strategy: defaults, overrides, and every method by its name."""

from __future__ import annotations

import inspect

import pytest

from avalanche_ham import create_model
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.merging import Linear, Ties
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.identity import identity_entries
from avalanche_ham.runs.run import Run
from avalanche_ham.runs.settings import build_strategy, defaults, idle_options, resolve
from avalanche_ham.strategies.ham import HAMStrategy
from avalanche_ham.strategies.registry import METHODS


def build(method: str, **values):
    model = create_model("tiny", n_classes=10)
    return build_strategy(method, resolve(method, values), model=model)


def test_defaults_are_those_of_the_signature():
    found = defaults("ham")
    own = inspect.signature(HAMStrategy.__init__).parameters
    for name in (
        "rank",
        "keep",
        "max_groups",
        "similarity_threshold",
        "alpha",
        "space",
        "targets",
    ):
        assert found[name] == own[name].default
    assert (found["rank"], found["keep"], found["max_groups"]) == (16, 0.6, 2)
    assert (found["similarity_threshold"], found["alpha"]) == (0.5, 1.0)
    assert found["merge"] == "linear" and found["epochs"] == 1 and found["lr"] == 5e-4


def test_objects_are_no_options():
    for method in METHODS:
        hidden = {
            "model",
            "optimizer",
            "plugins",
            "evaluator",
            "merge_rule",
            "regulariser",
            "alignment",
            "self",
        }
        assert not hidden & set(defaults(method)), method


def test_a_programming_error_is_not_taken_for_bad_input(monkeypatch):
    def broken(self, **kwargs):
        raise TypeError("a fault of the class")

    monkeypatch.setattr(HAMStrategy, "__init__", broken)
    with pytest.raises(TypeError, match="a fault of the class"):
        build("ham")


def test_what_other_rules_have_is_left_alone_where_a_preset_speaks_of_it():
    values = resolve("ham", {"density": 0.4}, {})
    assert (values["merge"], values["density"]) == ("linear", 0.4)
    others = {"mask_threshold", "shared_by"}
    assert idle_options("ham", values) == {"density", "majority", *others}
    assert build_strategy("ham", values, model=create_model("tiny", n_classes=10))
    assert idle_options("ham", {"merge": "dare"}) == {"majority", *others}
    assert idle_options("ties", {}) == idle_options("ewc", {}) == set()


def test_what_a_method_fixes_is_no_option():
    for method, row in METHODS.items():
        assert not set(row.fixed) & set(defaults(method)), method
    assert "scope" in defaults("lora") and "scope" not in defaults("finetune")
    assert "density" in defaults("ties") and "density" not in defaults("linear")


def test_later_overrides_win_and_presets_may_speak_of_what_a_method_lacks():
    values = resolve("lora", {"lr": 1.0, "keep": 0.1, "rank": 3}, {"lr": 2.0})
    assert values["lr"] == 2.0 and values["rank"] == 3 and "keep" not in values


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ({}, 60),
        ({"epochs": 5}, None),
        ({"epochs": 1}, None),
        ({"min_steps": 5}, None),
        ({"min_steps": "none"}, 60),
        ({"epochs": 5, "min_steps": 90, "steps": "none"}, None),
        ({"steps": 7}, 7),
        ({"steps": 7, "epochs": 1, "min_steps": "none"}, 7),  # as a printed configuration says
    ],
)
def test_epochs_that_were_asked_for_are_not_cut_by_a_preset_s_steps(asked, steps):
    assert resolve("ham", {"steps": 60}, asked)["steps"] == steps


@pytest.mark.parametrize("preset", [{"steps": 60}, {"epochs": 2, "min_steps": 30}])
@pytest.mark.parametrize(("name", "value"), [("epochs", 50), ("min_steps", 5)])
def test_two_budgets_that_exclude_one_another_are_refused(preset, name, value):
    with pytest.raises(OptionError, match=f"{name} must be left out beside steps 4, .*got {value}"):
        resolve("ham", preset, {"steps": 4, name: value})
    usual = {k: v for k, v in preset.items() if k != "steps"}
    assert resolve("ham", preset, {**usual, "steps": 4})["steps"] == 4


def test_a_run_trains_the_fewest_steps_that_were_asked_for_and_its_record_says_so():
    options = {"min_steps": 7}  # an epoch has 5
    config = RunConfig("lora", "digits", n_tasks=2, preset="smoke", options=options)
    done = Run(resolve_config(config), Resources(device="cpu"), show=False)
    done.next_task()
    assert done.strategy.step == done.strategy.total_steps == 7
    recorded = identity_entries(done.settings)["hyperparameters"]
    assert (recorded["steps"], recorded["min_steps"]) == (None, 7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_no_record_can_hold_is_refused(value):
    with pytest.raises(OptionError, match="similarity_threshold must be a finite number"):
        resolve("ham", {"lr": 0.1}, {"similarity_threshold": value})


def test_an_option_that_the_method_lacks_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="option of ham .*did you mean 'rank'"):
        resolve("ham", {"rnak": 3})
    with pytest.raises(UnknownNameError, match="option of lora must be one of .*got 'keep'"):
        resolve("lora", {"lr": 0.1}, {"keep": 0.5})


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_built_from_its_defaults(method):
    strategy = build(method, **({"rank": 4} if "rank" in defaults(method) else {}))
    assert type(strategy).__module__ in METHODS[method].path
    for name, value in METHODS[method].fixed.items():
        if name not in ("merge", "regulariser", "alignment") and hasattr(strategy, name):
            assert getattr(strategy, name) == value


def test_names_become_objects_and_aliases_avalanche_s_words():
    strategy = build("ham", merge="ties", density=0.3, batch_size=5, eval_batch_size=9, epochs=4)
    assert strategy.merge_rule == Ties(0.3)
    assert (strategy.train_mb_size, strategy.eval_mb_size, strategy.train_epochs) == (
        5,
        9,
        4,
    )
    assert build("ham").merge_rule == Linear()
    assert build("ham", targets="attn.qkv,mlp.fc1").adapters.targets == (
        "attn.qkv",
        "mlp.fc1",
    )
    assert repr(build("ewc", ewc_strength=7.0).regulariser) == "EWCPenalty(strength=7.0, decay=1.0)"
    lwf = build("lwf", lwf_temperature=3.0).regulariser
    assert (lwf.strength, lwf.temperature) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"lr": "fast"}, OptionError, "lr must be a number, but got 'fast'"),
        ({"rank": 2.5}, OptionError, "rank must be a whole number, but got 2.5"),
        ({"density": 0.3}, OptionError, "density must be given together with merge ties, dare, "),
        ({"merge": "dare", "majority": "total"}, OptionError, "but got 'merge dare'"),
        ({"merge": "tis"}, UnknownNameError, "did you mean 'ties'"),
        ({"merge": "ties", "density": 2.0}, OptionError, "density"),
        ({"slots": "q,x"}, OptionError, "slots must be some of q, k, v"),
        ({"steps": -1}, OptionError, "steps must be at least 1"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        build("ham", **values)
