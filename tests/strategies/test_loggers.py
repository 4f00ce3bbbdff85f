"""Avalanche's loggers write down what a strategy's evaluation gives, without a network."""

from __future__ import annotations

import csv
import io

import pytest
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics, loss_metrics
from avalanche.logging import CSVLogger, TensorboardLogger, TextLogger, WandBLogger
from avalanche.training.plugins import EvaluationPlugin
from toys import ham
from wandb_files import offline_runs

STREAM = "Top1_Acc_Stream/eval_phase/test_stream"
FORGETTING = "StreamForgetting/eval_phase/test_stream"


@pytest.fixture
def logged(benchmark):
    """A function that trains HAM on two tasks with a logger; gives what the evaluations gave."""

    def run(logger):
        metrics = (
            *accuracy_metrics(epoch=True, experience=True, stream=True),
            *loss_metrics(epoch=True, experience=True),
            *forgetting_metrics(experience=True, stream=True),
        )
        strategy = ham(evaluator=EvaluationPlugin(*metrics, loggers=[logger]))
        found = []
        for t in range(2):
            strategy.train(benchmark.train_stream[t], eval_streams=[])
            found.append(strategy.eval(benchmark.test_stream[: t + 1]))
        return found

    return run


def named(metrics, name):
    (value,) = [value for key, value in metrics.items() if key.startswith(name)]
    return value


def test_tensorboard(logged, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorboardLogger(tb_log_dir=str(tmp_path))
    found = logged(logger)
    logger.writer.flush()
    written = events.EventAccumulator(str(tmp_path))
    written.Reload()
    for name in (STREAM, FORGETTING):
        (tag,) = [tag for tag in written.Tags()["scalars"] if tag.startswith(name)]
        values = [scalar.value for scalar in written.Scalars(tag)]
        known = [named(metrics, name) for metrics in found]
        assert values == pytest.approx(known, rel=1e-6)


@pytest.mark.slow
def test_wandb(logged, offline_wandb, tmp_path, monkeypatch):
    wandb = offline_wandb
    if not hasattr(wandb, "viz"):  # Avalanche 0.6 looks there for what is now in wandb.plot
        monkeypatch.setattr(wandb, "viz", wandb.plot, raising=False)
    params = {"mode": "offline", "id": "mine"}
    found = logged(WandBLogger(dir=tmp_path, save_code=False, params=params))
    wandb.finish()
    (run,) = offline_runs(tmp_path)
    assert run.key == "mine"
    steps = [step for step in run.history if any(key.startswith(STREAM) for key in step)]
    known = [named(metrics, STREAM) for metrics in found]
    assert [named(step, STREAM) for step in steps] == pytest.approx(known)


def test_csv(logged, tmp_path):
    logger = CSVLogger(log_folder=str(tmp_path))
    found = logged(logger)
    logger.close()
    with open(tmp_path / "eval_results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for task in range(2):
        name = f"Top1_Acc_Exp/eval_phase/test_stream/Exp00{task}"
        (row,) = [r for r in rows if (r["eval_exp"], r["training_exp"]) == (str(task), "1")]
        assert float(row["eval_accuracy"]) == pytest.approx(named(found[1], name), abs=1e-4)


def test_text(logged):
    file = io.StringIO()
    found = logged(TextLogger(file))
    lines = [line for line in file.getvalue().splitlines() if STREAM in line]
    values = [float(line.rpartition("=")[2]) for line in lines]
    assert values == pytest.approx([named(metrics, STREAM) for metrics in found], abs=1e-4)
