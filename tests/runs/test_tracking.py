"""``--track``: what a tracker is told, and that a resumed run goes on in its place."""

from __future__ import annotations

import sys

import pytest
from wandb_files import offline_runs

from avalanche_ham.cli.main import main
from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.evaluation.metrics import forgetting
from avalanche_ham.runs.runner import Resources, RunConfig, run_heads

CONFIG = RunConfig(benchmark="digits", n_tasks=3, preset="smoke", head="linear,ncm")


class Stopped(Exception):
    """The run is stopped after a task."""


@pytest.fixture(params=["tensorboard", pytest.param("wandb", marks=pytest.mark.slow)])
def tracker(request):
    """Each tracker, offline."""
    pytest.importorskip(request.param)
    if request.param == "wandb":
        request.getfixturevalue("offline_wandb")
    return request.param


def go(out, track, *, config=CONFIG, resume=False, stop_after=None):
    def after_task(current):
        if current.tasks_done() == stop_after:
            raise Stopped

    resources = Resources(device="cpu", track=track)
    options = {"out": out, "resume": resume, "show": False, "after_task": after_task}
    return run_heads(config, resources, **options)


def told(out, track):
    """Give each run's name and its history: number of tasks -> name -> number."""
    if track == "wandb":
        runs = offline_runs(out)
        history = {step.pop("_step"): step for step in runs[-1].history}
        assert len({run.key for run in runs}) == 1
        return runs[-1].key, {
            step: {k: v for k, v in numbers.items() if k[0] != "_"}
            for step, numbers in history.items()
        }
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (out / "tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    history = {}
    for tag in events.Tags()["scalars"]:
        steps = [scalar.step for scalar in events.Scalars(tag)]
        assert steps == sorted(set(steps))  # none stands there twice
        for scalar in events.Scalars(tag):
            history.setdefault(scalar.step, {})[tag] = scalar.value
    return folder.name, history


def expected(records):
    """Write down what should have been told, from the records alone."""
    history = {}
    for t in range(3):
        numbers = history[t + 1] = {"train_seconds": records[0]["train_seconds"][t]}
        for record in records:
            head, row = record["head"], record["accuracy_matrix"][t][: t + 1]
            numbers |= {f"{head}/accuracy/task_00{j + 1}": 100 * a for j, a in enumerate(row)}
            numbers[f"{head}/AA"] = 100 * sum(row) / len(row)
            if t:
                cut = [line[: t + 1] for line in record["accuracy_matrix"][: t + 1]]
                numbers[f"{head}/FM"] = forgetting(cut)
        groups = records[0]["groups"]
        *alphas, own = groups["alphas"][t]["end"]
        numbers |= {"group/joined": groups["members"][t], "alpha/new": own}
        numbers |= {f"alpha/group_{g}": a for g, a in enumerate(alphas)}
        numbers |= {f"cosine/group_{g}": c for g, c in enumerate(groups["similarities"][t])}
    return history


def test_a_run_tells_accuracies_forgetting_groups_and_alphas(tracker, tmp_path):
    records = go(tmp_path, tracker)
    key, history = told(tmp_path, tracker)
    assert key.startswith("ham-linear_ncm-digits-3tasks-seed1-")
    assert history.keys() == {1, 2, 3}
    for tasks, numbers in expected(records).items():
        assert history[tasks] == pytest.approx(numbers, rel=1e-5)


def test_a_stopped_run_goes_on_in_the_same_place_without_a_gap(tracker, tmp_path):
    with pytest.raises(Stopped):
        go(tmp_path, tracker, stop_after=2)
    key, history = told(tmp_path, tracker)
    assert history.keys() == {1, 2}
    records = go(tmp_path, tracker, resume=True)
    again, history = told(tmp_path, tracker)
    assert again == key
    assert {t: n.keys() for t, n in history.items()} == {
        t: n.keys() for t, n in expected(records).items()
    }
    assert history[2] == pytest.approx(expected(records)[2], rel=1e-5)


def test_what_was_done_before_anyone_listened_is_told_too(tracker, tmp_path):
    with pytest.raises(Stopped):
        go(tmp_path, None, stop_after=3)  # before the records were written
    go(tmp_path, tracker, resume=True)
    assert told(tmp_path, tracker)[1].keys() == {1, 2, 3}


@pytest.mark.slow
def test_the_configuration_is_told_and_another_run_has_another_key(offline_wandb, tmp_path):
    config = RunConfig(method="lora", benchmark="digits", n_tasks=2, preset="smoke", seed=7)
    go(tmp_path / "a", "wandb", config=config)
    (run,) = offline_runs(tmp_path / "a")
    assert run.config["method"] == "lora" and run.config["hyperparameters"]["rank"] > 0
    go(tmp_path / "b", "wandb", config=RunConfig(**{**vars(config), "seed": 8}))
    assert offline_runs(tmp_path / "b")[0].key != run.key


def test_all_tasks_at_once_are_one_step(tmp_path):
    pytest.importorskip("tensorboard")
    config = RunConfig(method="joint", benchmark="digits", n_tasks=2, preset="smoke")
    (record,) = go(tmp_path, "tensorboard", config=config)
    _, history = told(tmp_path, "tensorboard")
    assert history.keys() == {2}
    assert history[2]["linear/AA"] == pytest.approx(record["aa"], rel=1e-5)
    assert "linear/FM" not in history[2]


def test_bad_input_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    with pytest.raises(OptionError, match="track must be given together with --out"):
        go(None, "tensorboard")
    with pytest.raises(UnknownNameError, match="track must be one of"):
        go(tmp_path, "mlflow")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(HamError, match=r"pip install 'avalanche-ham\[wandb\]'"):
        go(tmp_path, "wandb")
    assert main(["run", "--track", "mlflow", "--out", str(tmp_path)]) == 2
    assert "track must be one of" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
