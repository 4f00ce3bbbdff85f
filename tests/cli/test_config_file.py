"""A file of options is read as the command line would be, and refused in one line."""

from __future__ import annotations

import datetime

import pytest

from avalanche_ham.cli.config_file import expand, read_config, read_tables
from avalanche_ham.cli.main import main
from avalanche_ham.errors import HamError


@pytest.fixture
def written(tmp_path):
    """A function that writes a file of options, if this Python can read it."""

    def write(name, text):
        pytest.importorskip({"toml": "tomllib", "yaml": "yaml"}[name.split(".")[1]])
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1: 2", "1"),
        ("yes: true", "True"),
        ("null: 1", "None"),
        ("options: {1: 2}", "1"),
        ("methods: {ham: {on: 1}}", "True"),
    ],
)
def test_names_that_are_no_text_are_refused(written, text, key):
    with pytest.raises(HamError, match=f"config: names in .* must be text, but got {key}:"):
        read_config(written("a.yaml", text))


@pytest.mark.parametrize(
    "text",
    ['run = "no"', 'resume = "false"', "probes = 3", "dry-run = 0", "keep_state = []"],
)
def test_a_switch_that_is_neither_true_nor_false_is_refused(written, text):
    name = text.split()[0]
    with pytest.raises(HamError, match=f"config: {name} in .* must be true or false"):
        expand(["--config", str(written("a.toml", text))])


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"options": {"steps": 1.5}}, r"steps in \[options\] must be a whole number"),
        ({"options": {"rank": True}}, r"rank in \[options\] must be a whole number"),
        ({"options": {"lr": datetime.date(2020, 1, 2)}}, "lr .* must be a number, .*2020"),
        ({"options": {"keep": float("nan")}}, "keep .* must be a finite number"),
        ({"options": {"train_alphas": 1}}, "train_alphas .* must be true or false"),
        ({"options": {"epochs": None}}, "epochs .* must be a whole number, .*None"),
        ({"options": {"rnak": 4}}, "did you mean 'rank'"),
        ({"methods": {"ham": 3}}, r"ham in \[methods\] must be a table, but got 3"),
        ({"methods": {"ham": {"rank": "four"}}}, r"rank in \[methods.ham\] must be"),
        ({"methods": {"lora": {"keep": 0.5}}}, r"option in \[methods.lora\] must be one"),
        ({"methods": {"hma": {}}}, "did you mean 'ham'"),
    ],
)
def test_values_that_the_command_line_would_refuse_are_refused_by_name(tables, said):
    with pytest.raises(HamError, match=said):
        read_tables(tables)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"lr": "1e-3"}, {"lr": 0.001}),  # what YAML makes of lr: 1e-3
        ({"keep": 1}, {"keep": 1.0}),
        ({"alpha-lr": None}, {"alpha_lr": None}),
        ({"train_alphas": False}, {"train_alphas": False}),
        ({"targets": ["attn.qkv", "mlp.fc1"]}, {"targets": ("attn.qkv", "mlp.fc1")}),
        ({"targets": "attn.qkv"}, {"targets": ("attn.qkv",)}),
        ({"train_per_class": None}, {"train_per_class": None}),
        ({"task-order": "shuffled"}, {"task_order": "shuffled"}),  # mixtures alone have it
    ],
)
def test_values_are_read_as_from_the_command_line(given, read):
    assert read_tables({"options": given}) == (read, {})
    assert read_tables({"methods": {"ham": given}}) == ({}, {"ham": read})


def test_a_wrong_value_in_a_file_ends_a_table_before_anything_runs(written, tmp_path, capsys):
    path = written("a.toml", "run = true\n[options]\nsteps = 1.5\n")
    words = ["table", "1", "--records", str(tmp_path / "new"), "--config", str(path)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("ham: config: steps in [options]") and said.count("\n") == 1
    assert not (tmp_path / "new").exists()
