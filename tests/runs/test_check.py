"""No value of a planned run is found wrong after the first run has started."""

from __future__ import annotations

import re

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.errors import HamError
from avalanche_ham.runs.check import check_runs
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.options import options_of
from avalanche_ham.strategies.registry import METHODS

FINE = RunConfig("ham", preset="smoke", n_tasks=2)
WITHOUT = ("network", "head", "nothing")  # what trains where there is no adapter
RANKED = [
    method
    for method, row in METHODS.items()
    if "rank" in options_of(method) and row.fixed.get("trains") not in WITHOUT
]


@pytest.mark.parametrize("method", RANKED)
def test_a_rank_that_does_not_fit_is_refused_before_any_run(method):
    last = RunConfig(method, preset="smoke", n_tasks=2, options={"rank": 49})
    with pytest.raises(HamError, match=f"rank must be .*48.*got 49 .{method}, "):
        check_runs([FINE, last])


def test_every_method_as_it_is_passes():
    check_runs([RunConfig(method, preset="smoke", n_tasks=2) for method in METHODS])


TABLE = ("table", "methods", "--run", "--jobs", "0", "--preset", "smoke", "--benchmark", "digits")
TABLE += ("--tasks", "2", "--seeds", "1", "--methods", "lora,ties")


@pytest.mark.parametrize(
    "text, said",
    [
        ("[methods.ties]\nrank = 99", "rank must be between 1 and 48"),
        ("[methods.ties]\ntargets = 'attn.kqv'", "no linear layer's name ends with 'attn.kqv'"),
        ("[options]\nepochs = 0", "epochs in .options. must be at least 1, but got 0"),
        ("[options]\nepochs = -1", "epochs in .options. must be at least 1, but got -1"),
        ("[options]\nlr = 0.0", "lr in .options. must be above 0, but got 0.0"),
        ("[options]\nhead_lr = 0", "head_lr in .options. must be above 0, but got 0.0"),
        ("[methods.ties]\ndensity = 2.0", "density in .methods.ties. must be at least 0 and"),
    ],
)
def test_a_config_files_values_are_checked_before_anything_runs(tmp_path, capsys, text, said):
    (tmp_path / "odd.toml").write_text(text)
    words = [*TABLE, "--records", str(tmp_path / "records"), "--config", str(tmp_path / "odd.toml")]
    assert main(words) == 2
    printed, error = capsys.readouterr()
    assert printed == "" and error.count("\n") == 1
    assert re.search(said, error), error
    assert not (tmp_path / "records").exists()
