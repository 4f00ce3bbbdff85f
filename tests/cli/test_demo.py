"""``ham demo`` at smoke size: its table, its files, and how it goes on after a stop."""

import dataclasses
import subprocess
import sys

import pytest
from PIL import Image

import avalanche_ham.cli.demo as demo_module
from avalanche_ham.cli.demo import RUNS, demo
from avalanche_ham.errors import HamError, StateError
from avalanche_ham.runs.lock import RunLock
from avalanche_ham.runs.records import read_records
from avalanche_ham.runs.runner import Resources, run

SMALL = {
    name: dataclasses.replace(config, preset="smoke", options={**config.options, "steps": 2})
    for name, config in RUNS.items()
}
QUICK = {"ham": dataclasses.replace(SMALL["ham"], n_tasks=2, head="linear")}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder of a finished small demo."""
    out = tmp_path_factory.mktemp("demo") / "new" / "out"
    demo(out, SMALL)
    return out


def without_times(records):
    return [
        {
            name: value
            for name, value in record.items()
            if "seconds" not in name and name not in ("date", "peak_memory_mb")
        }
        for record in records
    ]


def test_it_is_ham_against_fine_tuning_on_five_tasks_of_digits():
    assert {config.method for config in RUNS.values()} == {"ham", "finetune"}
    for config in RUNS.values():
        assert (config.benchmark, config.n_tasks) == ("digits", 5)
        assert (config.preset, config.backbone) == ("cpu", None)  # the embedded one
    assert len({config.options["steps"] for config in RUNS.values()}) == 1


def test_it_leaves_records_a_picture_and_the_state(shown):
    records = read_records(shown)
    names = [(record["method"], record["head"]) for record in records]
    assert names == [("ham", "linear"), ("ham", "ridge"), ("finetune", "linear")]
    with Image.open(shown / "demo.png") as picture:
        assert picture.format == "PNG" and picture.width > 1500 < 4 * picture.height
    files = sorted(path.name for path in shown.iterdir())
    assert files == ["demo.png", "finetune", "ham", "records.jsonl"]
    assert (shown / "ham" / "state" / "state.safetensors").exists()


def test_a_finished_demo_is_shown_again_without_training(shown, capsys, monkeypatch):
    monkeypatch.setattr(demo_module, "run", None)  # would raise if it were called
    before = (shown / "records.jsonl").read_bytes()
    (shown / "demo.png").unlink()
    demo(shown, SMALL)
    printed = capsys.readouterr().out
    lines = printed.strip().splitlines()
    assert lines[0].split() == ["method", "AA", "%", "FM", "%", "seconds"]
    for line, record in zip(lines[1:4], read_records(shown), strict=True):
        assert line.startswith(record["method"])
        assert f"{record['aa']:.1f}" in line and f"{record['fm']:.1f}" in line
    assert str(shown / "demo.png") in printed and (shown / "demo.png").exists()
    assert (shown / "records.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_stopped_demo_goes_on_and_ends_the_same(shown, tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        def stop(current):
            if current.settings.method == "finetune" and current.tasks_done() == 2:
                raise KeyboardInterrupt

        return run(*args, after_task=stop, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(demo_module, "run", stopped)
        demo(tmp_path, SMALL)
    assert not (tmp_path / "records.jsonl").exists()
    demo(tmp_path, SMALL)
    assert without_times(read_records(tmp_path)) == without_times(read_records(shown))


def test_without_a_folder_it_makes_one_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    demo(None, QUICK)
    assert (tmp_path / "ham_demo" / "demo.png").exists()
    assert "ham_demo/demo.png" in capsys.readouterr().out


def other_run(folder, name):
    config = dataclasses.replace(SMALL["ham"], head="linear", n_tasks=2, seed=7)
    run(config, Resources(device="cpu"), out=folder / name, show=False)


@pytest.mark.parametrize("place", [".", "ham", "finetune"])
def test_a_folder_of_another_run_is_refused_before_anything_is_done(place, tmp_path):
    other_run(tmp_path, place)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(StateError, match="another run"):
        demo(tmp_path, SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


def test_what_lies_beside_the_demos_own_folders_is_left_alone(tmp_path):
    other_run(tmp_path, "something/else")
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    demo(tmp_path, QUICK)
    assert all(p.stat().st_mtime_ns == time for p, time in files.items())


def test_an_unfinished_run_of_something_else_is_refused(tmp_path):
    other_run(tmp_path, "finetune")
    (tmp_path / "finetune" / "records.jsonl").unlink()
    with pytest.raises(StateError, match="another run"):
        demo(tmp_path, SMALL)
    assert not (tmp_path / "ham").exists()


def test_a_demo_holds_its_folder_meanwhile(tmp_path, monkeypatch):
    def checked(*args, **options):
        assert not RunLock(tmp_path).acquire()
        return run(*args, **options)

    monkeypatch.setattr(demo_module, "run", checked)
    demo(tmp_path, QUICK)
    other = RunLock(tmp_path)
    assert other.acquire()
    with pytest.raises(HamError, match="in use by another process"):
        demo(tmp_path, QUICK)


def test_a_file_and_foreign_records_are_refused(tmp_path):
    (tmp_path / "records.jsonl").write_text('{"method": "ham"}\n')
    with pytest.raises(HamError, match="line 1: head: Field required"):
        demo(tmp_path, SMALL)
    with pytest.raises(HamError, match="is a file"):
        demo(tmp_path / "records.jsonl", SMALL)


@pytest.mark.slow
def test_the_real_demo_runs_and_ham_forgets_less(tmp_path):
    command = [sys.executable, "-m", "avalanche_ham", "demo", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    ham, ridge, finetune = read_records(tmp_path)
    assert ridge["aa"] > ham["aa"] > finetune["aa"] + 10
    assert ridge["fm"] < finetune["fm"] and ham["fm"] < finetune["fm"]
