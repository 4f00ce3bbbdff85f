"""The command that a record names makes the run that the record is of."""

from __future__ import annotations

import shlex

import pytest

from avalanche_ham.cli import run as command_line
from avalanche_ham.cli.main import main
from avalanche_ham.runs.command import command_of
from avalanche_ham.runs.config import RunConfig, resolve_config
from avalanche_ham.runs.identity import identity_entries

RUNS = [
    RunConfig(),
    RunConfig("ham", n_tasks=3, preset="smoke", options={"lr": 0.05, "keep": 1.0}),
    RunConfig("ham_plus", "cifar100", 10, 2, preset="study", options={"damping": 0.5}),
    RunConfig("lora", head="ridge,linear", options={"ridge_penalty": 0.5, "steps": None}),
    RunConfig("slao", preset="study", backbone="vit_small_patch16_224", image_size=64),
    RunConfig("inflora", preset="study", options={"threshold": 0.9}),
    RunConfig("ncm", preset="study", image_size=64, options={"holdout": 0.2}),
    RunConfig("l2p", options={"prompt_length": 3, "train_per_class": 5}),
]


def identity_of_command(command, monkeypatch):
    """The identity of the run that a command line would start, which is not started."""
    found = []

    def seen(args, asked, out):
        names = [option.name for option in command_line.OF_RUN if option.name != "tasks"]
        config = RunConfig(n_tasks=args["tasks"], options=asked, **{k: args[k] for k in names})
        found.append(resolve_config(config))
        return 0

    monkeypatch.setattr(command_line, "_run", seen)
    assert main(shlex.split(command)[1:]) == 0
    return found[0]


@pytest.mark.parametrize("config", RUNS, ids=lambda config: config.method)
def test_the_command_is_the_run_with_what_differs_from_its_preset(config, monkeypatch):
    expected = identity_entries(resolve_config(config))
    command = command_of(expected)
    assert identity_entries(identity_of_command(command, monkeypatch)) == expected
    assert command.count("=") <= 6 + len(config.options) + bool(config.backbone) + 1


def test_names_are_quoted_and_weights_are_asked_for():
    entries = identity_entries(resolve_config(RunConfig()))
    assert command_of(entries) == (
        "ham run --method=ham --benchmark=digits --tasks=5 --seed=1 --head=linear --preset=cpu "
        "--data-root DATA --out RUN"
    )
    assert "--benchmark='my birds' " in command_of({**entries, "benchmark": "my birds"})
    assert command_of(entries, local_weights=True).endswith("--weights FILE --out RUN")
