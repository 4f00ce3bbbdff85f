"""Options of closed-form heads: whose they are, in which records, and which runs train once."""

from __future__ import annotations

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.errors import OptionError
from avalanche_ham.heads import HEADS
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.plan import together
from avalanche_ham.runs.records import read_records
from avalanche_ham.runs.run import Run
from avalanche_ham.runs.runner import run_heads


def config(head: str, **options: object) -> RunConfig:
    return RunConfig(method="frozen", n_tasks=2, head=head, preset="smoke", options=options)


def test_each_record_holds_the_options_of_its_own_head(tmp_path, capsys):
    words = ["run", "--method", "frozen", "--tasks", "2", "--preset", "smoke"]
    words += ["--head", "linear,ridge,lda"]
    words += ["--ridge-projections", "30", "--lda-shrinkage", "0.4", "--out", str(tmp_path)]
    assert main(words) == 0
    linear, ridge, lda = (r["hyperparameters"] for r in read_records(tmp_path / "records.jsonl"))
    own = {k: v for k, v in ridge.items() if k.startswith("ridge_")}
    assert own == {"ridge_projections": 30, "ridge_penalty": 0.01}
    assert {k: v for k, v in lda.items() if k.startswith("lda_")} == {"lda_shrinkage": 0.4}
    assert not [k for k in linear if k.startswith(("ridge_", "lda_"))]
    assert "ridge_penalty" not in lda


def test_options_reach_the_readout():
    asked = config("ridge", ridge_projections=30, ridge_penalty=None)
    readout = Run(resolve_config(asked), Resources(device="cpu"), show=False).strategy.model.readout
    assert (readout.n_projections, readout.penalty) == (30, None)
    record = run_heads(asked, Resources(device="cpu"), show=False)[0]
    assert identity_in(record).asked == identity_of(asked).asked


def test_a_record_without_these_options_is_one_with_their_defaults():
    settings = identity_of(config("ridge"))
    assert settings == identity_of(config("ridge", ridge_penalty=0.01, ridge_projections=2000))
    assert settings != identity_of(config("ridge", ridge_penalty=None))


def test_options_of_a_head_make_no_other_training_but_another_run():
    runs = (
        config("linear"),
        config("ridge", ridge_penalty=0.5),
        config("lda"),
        config("ridge", ridge_penalty=0.1),
    )
    first, second = together(runs)
    assert (first.head, dict(first.options)) == ("linear,ridge,lda", {"ridge_penalty": 0.5})
    assert (second.head, dict(second.options)) == ("ridge", {"ridge_penalty": 0.1})
    assert len({identity_of(run).training for run in runs}) == 1


def test_an_option_without_its_head_is_refused(capsys):
    with pytest.raises(OptionError, match="lda_shrinkage.*head lda.*head linear,ridge"):
        resolve_config(config("linear,ridge", lda_shrinkage=0.2))
    assert main(["run", "--head", "ncm", "--ridge-penalty", "1"]) == 2
    assert "head ridge" in capsys.readouterr().err
    assert main(["run", "--head", "ridge", "--ridge-penalty", "0"]) == 2
    assert "above 0" in capsys.readouterr().err


def test_study_chooses_the_penalty_on_held_out_images():
    assert resolve_config(RunConfig(preset="study", head="ridge")).readouts["ridge_penalty"] is None
    assert resolve_config(RunConfig(preset="cpu", head="ridge")).readouts["ridge_penalty"] == 0.01


TWO_WORDS = '''
from avalanche_ham.heads import NearestClassMean


class TwoWords(NearestClassMean):
    """Class means times a number.

    Args:
        strength: the number, above 0.
    """

    def __init__(self, in_features, n_classes, *, strength: float = 1.0, seed=0):
        super().__init__(in_features, n_classes, seed=seed)
        self.strength = strength
'''


def test_options_of_a_head_whose_name_has_two_words(tmp_path, monkeypatch):
    (tmp_path / "two_words.py").write_text(TWO_WORDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(HEADS, "two_words", "two_words.TwoWords")
    asked = config("two_words,lda", two_words_strength=3.0)
    run = Run(resolve_config(asked), Resources(device="cpu"), show=False)
    assert run.strategy.model.readout.strength == 3.0
    assert run.identity("two_words")["hyperparameters"]["two_words_strength"] == 3.0
    assert "two_words_strength" not in run.identity("lda")["hyperparameters"]
    assert identity_of(asked) != identity_of(config("two_words,lda"))
    with pytest.raises(OptionError, match="two_words_strength.*head two_words.*head lda"):
        resolve_config(config("lda", two_words_strength=3.0))
