"""What an option says of itself is what the class that takes it does."""

from __future__ import annotations

import pytest

from avalanche_ham import create_model
from avalanche_ham.benchmarks.registry import BENCHMARKS
from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.runs.option import as_word
from avalanche_ham.runs.options import MADE, benchmark_options, options_of
from avalanche_ham.runs.settings import build_strategy, resolve
from avalanche_ham.strategies.registry import METHODS, Method

VARIED = (
    "ham", "dare_ties", "lora_ewc", "lora_lwf", "inflora", "sd_lora", "sema", "l2p",
    "dual_prompt", "coda_prompt", "slao", "pam_lwf", "continual_ties", "tall", "magmax",
)  # fmt: skip
BASE_S = {"lr", "weight_decay", "head_lr", "steps", "scope", "precision"}
AVALANCHE_S = {"epochs", "batch_size", "eval_batch_size"}  # which lets anything pass


@pytest.mark.parametrize("list_options, name", [
    *((options_of, name) for name in METHODS),
    *((benchmark_options, name) for name in (*BENCHMARKS, "digits+mine")),
])  # fmt: skip
def test_every_option_has_words_and_a_default_that_it_reads(list_options, name):
    for option in list_options(name).values():
        assert option.words, option.name
        assert option.read(option.default) == option.default
        assert option.read(as_word(option.default)) == option.default


def outside(option):
    """Values just outside the range that an option's words tell."""
    for value in (-1e9, -1.001, -1, -0.001, 0, 1.001, 1e9):
        try:
            option.read(value if "float" in option.kinds else int(value))
        except OptionError:
            yield value if "float" in option.kinds else int(value)


@pytest.mark.parametrize("method", VARIED)
def test_ranges_and_choices_are_those_of_the_class(method):
    options = options_of(method)
    tested = 0
    for option in options.values():
        number = {"int", "float"} & {*option.kinds} and not option.several
        bad: list = [*outside(option)] if number else []
        bad = bad[:1] + bad[-1:] + (["nosuchword"] if option.choices else [])
        shared = method != "ham" and option.name in BASE_S  # asked once is enough
        if option.name in ("merge", *AVALANCHE_S) or not bad or shared:
            continue
        other, owners = option.needs or ("", ("",))
        given = {other: owners[0]} if other in options else {}
        for value in bad:
            values = {**resolve(method, {"rank": 4}, given), option.name: value}
            model = create_model("tiny", n_classes=10)
            with pytest.raises(HamError, match="must be") as refused:
                build_strategy(method, values, model=model)
            if value == "nosuchword":
                assert f"one of {', '.join(sorted(option.choices))}" in str(refused.value)
            tested += 1
    assert tested > 1


def test_options_of_rules_that_share_a_name_share_the_default():
    options = options_of("ham")
    assert options["density"].needs == ("merge", ("ties", "dare", "dare_ties"))
    assert options["majority"].needs == ("merge", ("ties", "dare_ties"))
    for rule in options["merge"].choices:
        row = METHODS["ham"]._replace(fixed={"merge": rule})
        METHODS["fixed"] = row
        try:
            own = options_of("fixed")
        finally:
            del METHODS["fixed"]
        shared = {"density", "majority"} & {*own}
        assert {n: own[n].default for n in shared} == {n: options[n].default for n in shared}
        assert shared == {n for n in ("density", "majority") if rule in options[n].needs[1]}


def test_objects_and_what_the_run_sets_are_no_options():
    for method in METHODS:
        hidden = {"model", "optimizer", "plugins", "evaluator", "device", "seed",
                  "eval_every", "peval_mode", "assign", "self", *MADE}  # fmt: skip
        assert not hidden & {*options_of(method)}, method


def test_a_method_of_one_s_own_has_options_like_any_other(tmp_path, monkeypatch):
    (tmp_path / "own_method.py").write_text(
        "from avalanche_ham.strategies.ham import HAMStrategy\n\n"
        "class Mine(HAMStrategy):\n"
        '    """Mine.\n\n    Args:\n        sharpness: of it, above 0.\n    """\n\n'
        "    def __init__(self, *, sharpness: float = 2.0, keep: float = 0.9, **kwargs):\n"
        "        self.sharpness = sharpness\n"
        "        super().__init__(keep=keep, **kwargs)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    row = Method("own_method.Mine", "someone", {"max_groups": 3}, {"rank": 5})
    monkeypatch.setitem(METHODS, "mine", row)
    options = options_of("mine")
    assert options["sharpness"].words == "of it, above 0" and options["rank"].default == 5
    assert options["keep"].default == 0.9 and "max_groups" not in options
    values = resolve("mine", {"sharpness": "3", "merge": "ties", "density": 0.4})
    strategy = build_strategy("mine", values, model=create_model("tiny", n_classes=10))
    assert (strategy.sharpness, strategy.grouping.keep, strategy.merge_rule.density) == (
        3,
        0.9,
        0.4,
    )
    with pytest.raises(OptionError, match="sharpness must be above 0"):
        resolve("mine", {"sharpness": 0})
