"""The command line does what the Python API does."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from avalanche_ham.benchmarks.registry import BENCHMARKS
from avalanche_ham.cli.main import main
from avalanche_ham.runs.records import read_records
from avalanche_ham.strategies.registry import METHODS

SMOKE = ("run", "--preset", "smoke", "--device", "cpu", "--tasks", "2")


def ham(*words):
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "avalanche_ham", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_without_a_command_it_says_what_there_is(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("demo", "run", "list", "export"))


@pytest.mark.parametrize(
    "what, names",
    [
        ("methods", METHODS),
        ("benchmarks", BENCHMARKS),
        ("backbones", ("embedded", "tiny")),
    ],
)
def test_list_gives_a_line_for_each_name(what, names, capsys):
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= set(names)
    assert all(len(line.split()) > 1 for line in lines)


def test_listing_is_quick_because_it_imports_neither_torch_nor_avalanche():
    code = """
import sys
from avalanche_ham.cli.main import main
for what in ("methods", "benchmarks", "backbones"):
    assert main(["list", what]) == 0
print([name for name in ("torch", "avalanche", "timm") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_reading_records_and_help_import_neither_torch_nor_what_draws_and_tests(tmp_path):
    code = f"""
import sys
from avalanche_ham.cli.main import main
assert main(["table", "1", "--records", {str(tmp_path)!r}]) == 0
for command in ("table", "figure", "headroom"):
    try:
        main([command, "--help"])
    except SystemExit as done:
        assert done.code == 0
slow = ("torch", "avalanche", "timm", "matplotlib", "scipy", "sklearn")
print([name for name in slow if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_prints_a_line_and_leaves_a_record_and_a_state(tmp_path, capsys):
    out = tmp_path / "new" / "run"
    options = ["--rank", "4", "--keep", "0.5", "--alpha-lr", "0.1", "--steps", "2"]
    options += ["--targets", "attn.qkv,mlp.fc1", "--merge", "ties", "--density", "0.3"]
    assert main([*SMOKE, *options, "--out", str(out)]) == 0
    record = json.loads((out / "records.jsonl").read_text())
    assert record["method"] == "ham" and record["n_tasks"] == 2
    expected = {"rank": 4, "keep": 0.5, "alpha_lr": 0.1, "steps": 2, "merge": "ties"}
    expected |= {"density": 0.3, "targets": ["attn.qkv", "mlp.fc1"]}
    assert record["hyperparameters"].items() >= expected.items()
    printed = capsys.readouterr().out
    assert f"AA {record['aa']:.2f} %" in printed and str(out) in printed
    assert (out / "state" / "state.safetensors").exists()


def test_each_head_of_a_run_has_its_line(tmp_path, capsys):
    words = [*SMOKE, "--method", "frozen", "--head", "linear,ridge", "--out", str(tmp_path)]
    assert main(words) == 0
    shown = capsys.readouterr().out.splitlines()
    for line, record in zip(shown, read_records(tmp_path)):
        assert line.startswith(f"frozen, {record['head']} head: AA {record['aa']:.2f} %")
    assert [line.split()[1] for line in shown[:-1]] == ["linear", "ridge"]


@pytest.mark.parametrize(
    ("stream", "words", "code", "said"),
    [
        ("stdout", "table 1 --records RECORDS", 0, "mean ? sample"),  # plus-minus
        ("stderr", "liß", 2, "'li?'"),
    ],
)
def test_a_terminal_that_lacks_a_sign_gets_another(
    stream, words, code, said, tmp_path, monkeypatch
):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, stream, terminal)
    assert main(words.replace("RECORDS", str(tmp_path)).split()) == code
    terminal.flush()
    assert said in terminal.buffer.getvalue().decode("ascii")


def test_a_stream_that_cannot_be_set_up_is_used_as_it_is(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["list", "backbones"]) == 0
    assert "embedded" in shown.getvalue()


def test_resuming_a_finished_run_changes_nothing(tmp_path, capsys):
    words = [*SMOKE, "--method", "frozen", "--out", str(tmp_path)]
    assert main(words) == 0
    first, lines = capsys.readouterr().out, read_records(tmp_path)
    assert main([*words, "--resume"]) == 0
    assert capsys.readouterr().out == first and read_records(tmp_path) == lines


def test_epochs_that_were_asked_for_are_not_cut_by_the_preset(tmp_path):
    assert main([*SMOKE, "--epochs", "2", "--out", str(tmp_path)]) == 0
    options = read_records(tmp_path)[0]["hyperparameters"]
    assert options["epochs"] == 2 and options["steps"] is None


def test_the_module_is_the_command_and_bad_input_is_one_line(tmp_path):
    out = tmp_path / "out"
    done = ham(*SMOKE, "--keep", "0", "--out", str(out))
    assert done.returncode == 2 and done.stdout == "" and not out.exists()
    lines = done.stderr.splitlines()
    assert lines == ["ham: keep must be above 0 and at most 1, but got 0.0"]


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "avalanche_ham", "list", "methods"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 141


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(words):
        raise KeyboardInterrupt

    monkeypatch.setattr("avalanche_ham.cli.main._dispatch", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().err == "ham: stopped; the same command goes on\n"
    for words in (["run", "--out", "folder"], ["run", "--out=folder"], ["run", "--config", "file"]):
        assert main(words) == 130
        said = "ham: stopped; the same command with --resume goes on\n"
        assert capsys.readouterr().err == said
    assert main(["run"]) == 130
    assert capsys.readouterr().err == "ham: stopped; without --out nothing is kept\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device on this system")
@pytest.mark.parametrize("words", ["list methods", "run --print-config", "--help"])
def test_a_full_disk_behind_standard_output_is_a_failure_in_one_line(words):
    quiet = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "avalanche_ham", *words.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=quiet)
    assert (done.returncode, done.stderr) == (1, "ham: [Errno 28] No space left on device\n")
