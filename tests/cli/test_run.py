"""``ham run``: help, options and configuration files, before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.cli.run import _parse
from avalanche_ham.runs.option import as_word
from avalanche_ham.runs.options import benchmark_options, options_of
from avalanche_ham.runs.records import read_records
from avalanche_ham.strategies.registry import METHODS

SMOKE = ("run", "--preset", "smoke", "--device", "cpu", "--tasks", "2")


def shown_by(capsys, *words):
    """What ``ham run`` prints, without line breaks."""
    with pytest.raises(SystemExit) as end:
        main(["run", *words, "--help"])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def printed(capsys, *words):
    """The options that ``--print-config`` gives."""
    capsys.readouterr()
    assert main([*words, "--print-config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    pairs = (line.split(" = ", 1) for line in lines)
    return {name.replace("-", "_"): json.loads(value) for name, value in pairs}


def test_help_and_refusals_import_neither_torch_nor_avalanche():
    code = """
import sys
from avalanche_ham.cli.main import main
for words in ("--method sema --preset paper --help", "--rnak 3", "--keep 0", "--steps many",
              "--method hma", "--density 0.3", "--benchmark digit", "--print-config yaml"):
    try:
        print(words, main(["run", *words.split()]))
    except SystemExit as end:
        assert end.code == 0
print([name for name in ("torch", "avalanche", "timm", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(done.stderr.splitlines()) == 6


@pytest.mark.parametrize("method", METHODS)
def test_help_shows_each_option_with_its_words_and_default(method, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    shown = shown_by(capsys, "--method", method, "--preset", "smoke")
    values = printed(capsys, *SMOKE, "--method", method)
    for name, option in (options_of(method) | benchmark_options("digits")).items():
        assert "--" + name.replace("_", "-") in shown
        assert option.words.split(";")[0].replace("``", "").lower() in shown.lower()
        assert f"default: {as_word(values.get(name, option.default))}" in shown


@pytest.mark.parametrize(
    ("words", "default"),
    [
        ("--preset paper --benchmark cub200", "steps are given; default: 20"),
        ("--preset paper --benchmark cifar100", "steps are given; default: 5"),
        ("--preset cpu --method coda_prompt --benchmark cifar100", "above 0; default: 0.001"),
        ("--preset cpu --method ham --benchmark cifar100", "above 0; default: 4e-05"),
        ("--preset cpu --benchmark cifar100", "none takes all; default: 100"),
        ("--preset cpu --benchmark digits", "none takes all; default: none"),
        ("--method ridge", "several: a,b; default: ridge"),
        ("--preset smoke", "ham list backbones`; default: tiny"),
    ],
)
def test_help_shows_the_default_of_this_method_preset_and_benchmark(words, default, capsys):
    assert default in shown_by(capsys, *words.split())


def test_hyphens_and_underscores_are_one(capsys):
    words = ["--batch_size=3", "--train_per_class", "5", "--max-groups", "4"]
    assert printed(capsys, *SMOKE, *words).items() >= {
        ("batch_size", 3), ("train_per_class", 5), ("max_groups", 4)
    }  # fmt: skip


def test_all_images_can_be_asked_for_where_a_preset_takes_some():
    options = _parse(["--train-per-class", "none", "--test-per-class", "None"])[1]
    assert options == {"train_per_class": None, "test_per_class": None}


@pytest.mark.parametrize("style", ["toml", "yaml"])
def test_a_printed_configuration_gives_the_same_run(style, tmp_path, capsys):
    words = [*SMOKE, "--method", "lora_ewc", "--lr", "1e-5", "--ewc-decay", "0.5", "--steps", "1"]
    words += ["--targets", "attn.qkv,mlp.fc1", "--rank", "2", "--holdout", "0.25"]
    assert main([*words, "--print-config", style]) == 0
    path = tmp_path / f"run.{style}"
    path.write_text(capsys.readouterr().out)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    (record,) = read_records(tmp_path / "out")
    assert record["hyperparameters"]["targets"] == ["attn.qkv", "mlp.fc1"]
    again = ["run", "--config", str(path), "--out", str(tmp_path / "out"), "--resume"]
    assert main(again) == 0  # refused if any option differed
    assert printed(capsys, "run", f"--config={path}") == printed(capsys, *words)


def test_the_command_line_wins_over_a_printed_configuration(tmp_path, capsys):
    assert main(["run", "--merge", "ties", "--density", "0.3", "--print-config", "yaml"]) == 0
    path = tmp_path / "run.yaml"
    path.write_text(capsys.readouterr().out)
    values = printed(capsys, "run", "--density", "0.4", "--config", str(path))
    assert (values["merge"], values["density"], values["majority"]) == ("ties", 0.4, "total")
    assert not {"density", "majority"} & {*printed(capsys, "run")}  # linear has neither


def test_a_printed_configuration_names_what_the_run_has_as_its_images_and_their_size(
    tmp_path, capsys
):
    (tmp_path / "gtsrb43" / "train").mkdir(parents=True)
    words = ["run", "--preset", "study", "--benchmark", "image_folder"]
    words += ["--data-root", str(tmp_path / "gtsrb43")]
    found = printed(capsys, *words)
    assert (found["benchmark"], found["data_root"]) == ("gtsrb43", str(tmp_path))
    assert found["image_size"] == 96 and found["augment"] == "none"  # signs are not mirrored
    path = tmp_path / "run.toml"
    assert main([*words, "--print-config"]) == 0
    path.write_text(capsys.readouterr().out)
    assert printed(capsys, "run", "--config", str(path)) == found


def test_help_shows_the_size_of_the_backbone_that_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--preset", "study", "--backbone", "embedded", "--help"])
    assert "at least 1; default: 160" in capsys.readouterr().out


@pytest.mark.parametrize(("method", "head"), [("ncm", "linear"), ("independent", "ridge")])
def test_a_head_that_a_method_cannot_have_is_refused(method, head, capsys):
    assert main([*SMOKE, "--method", method, "--head", head]) == 2
    printed, error = capsys.readouterr()
    assert f"the one head of the method {method}, but got '{head}'" in error and not printed


def test_the_head_that_a_method_is_may_be_named(capsys):
    assert printed(capsys, *SMOKE, "--method", "ncm", "--head", "ncm")["head"] == "ncm"


def test_an_order_of_classes_may_stand_in_a_file(tmp_path, capsys):
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    file = tmp_path / "order.txt"
    file.write_text("\n".join(map(str, order)) + "\n")
    words = ["run", "--benchmark", "digits", "--class-order"]
    given = printed(capsys, *words, ",".join(map(str, order)))
    assert printed(capsys, *words, str(file)) == given and given["class_order"] == order
    file.write_bytes(b"\xff\xfe\x00")
    assert main([*words, str(file), "--print-config"]) == 2
    assert "class_order must be entries, or a text file" in capsys.readouterr().err
