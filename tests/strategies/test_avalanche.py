"""Inside Avalanche: its loggers, metrics and benchmarks, its own strategies on our model."""

from __future__ import annotations

import copy
import csv
import io

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, class_incremental_benchmark
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.evaluation.metrics import (
    accuracy_metrics,
    forgetting_metrics,
    loss_metrics,
    timing_metrics,
)
from avalanche.logging import CSVLogger, InteractiveLogger, TensorboardLogger
from avalanche.training.plugins import EvaluationPlugin, LRSchedulerPlugin
from avalanche.training.supervised import EWC, LwF, Naive
from streams import Triples, classic, noise_images
from toys import Watch, differing, ham, make, silent, state_of

from avalanche_ham.backbones import create_model
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.evaluation.metrics import first_forgetting
from avalanche_ham.strategies.sequential import train_backbone


def avalanche_s_own():
    """Four classes in two experiences from Avalanche's class_incremental_benchmark; pairs."""
    parts = {"train": noise_images(6, 4), "test": noise_images(3, 4)}
    parts = {name: as_classification_dataset(images) for name, images in parts.items()}
    return class_incremental_benchmark(parts, num_experiences=2, seed=0)


@pytest.fixture(params=["ours", "classic", "avalanche"])
def any_benchmark(request):
    if request.param == "ours":
        return request.getfixturevalue("benchmark")
    return classic() if request.param == "classic" else avalanche_s_own()


def test_loggers_and_metrics_run_on_every_kind_of_benchmark(any_benchmark, tmp_path):
    console = io.StringIO()
    evaluator = EvaluationPlugin(
        accuracy_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        loss_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        timing_metrics(epoch=True),
        forgetting_metrics(experience=True, stream=True),
        loggers=[
            InteractiveLogger(),
            CSVLogger(log_folder=str(tmp_path / "csv")),
            TensorboardLogger(tb_log_dir=str(tmp_path / "tb")),
        ],
    )
    evaluator.loggers[0].file = console
    strategy = ham(evaluator=evaluator, eval_every=1)
    rows = []
    for t in range(2):
        strategy.train(any_benchmark.train_stream[t], eval_streams=[any_benchmark.test_stream])
        metrics = strategy.eval(any_benchmark.test_stream[: t + 1])
        with strategy.evaluation_weights():
            rows.append(accuracy_row(strategy, list(any_benchmark.test_stream[: t + 1])).accuracy)
    evaluator.loggers[1].close()
    stream = next(v for k, v in metrics.items() if k.startswith("Top1_Acc_Stream/eval"))
    assert stream == pytest.approx(sum(rows[1]) / 2)
    forgotten = next(v for k, v in metrics.items() if k.startswith("StreamForgetting"))
    assert forgotten == pytest.approx(rows[0][0] - rows[1][0])
    assert any(k.startswith("Time_Epoch") for k in metrics)
    with open(tmp_path / "csv" / "eval_results.csv") as file:
        assert len(list(csv.reader(file))) > 2
    assert list((tmp_path / "tb").rglob("events.out*"))
    assert "Top1_Acc" in console.getvalue()


def test_avalanche_s_stream_forgetting_is_our_first_forgetting(
    benchmark,
):
    names = [f"Top1_Acc_Exp/eval_phase/test_stream/Exp00{j}" for j in range(3)]
    metrics = (accuracy_metrics(experience=True), forgetting_metrics(stream=True))
    strategy, rows = ham(evaluator=silent(*metrics)), []
    for experience in benchmark.train_stream[:3]:  # tasks to come are evaluated, too
        strategy.train(experience, eval_streams=[])
        found = strategy.eval(benchmark.test_stream[:3])
        rows.append([found[name] for name in names])
    expected = first_forgetting(rows)
    assert expected != 0
    assert found["StreamForgetting/eval_phase/test_stream"] == pytest.approx(expected / 100)


@pytest.mark.parametrize("method", ["ham", "lora", "finetune", "lwf", "ewc", "ncm"])
def test_methods_learn_on_every_kind_of_benchmark(any_benchmark, method):
    strategy = make(method, {"steps": 3, "lr": 1e-3}, head="ncm" if method == "ncm" else "linear")
    for experience in any_benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    seen = strategy.model.head.classes.tolist()
    expected = [e.classes_in_this_experience for e in any_benchmark.train_stream[:2]]
    assert sorted(seen) == sorted(label for task in expected for label in task)
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(any_benchmark.test_stream[:2]))
    assert len(row.accuracy) == 2 and max(row.task_known) > 0


def test_a_learning_rate_scheduler_of_avalanche_runs(benchmark):
    placeholder = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([placeholder], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    strategy = ham(
        optimizer=optimizer,
        steps=None,
        train_epochs=2,
        plugins=[LRSchedulerPlugin(scheduler, reset_scheduler=False)],
    )
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert strategy.adapters.n_terms == 1


def avalanche_strategy(name: str):
    model = create_model("tiny", n_classes=4)
    model.head.train_old_rows = True  # Avalanche's loss runs over all classes
    train_backbone(model)
    common = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05),
        "criterion": torch.nn.CrossEntropyLoss(),
        "train_mb_size": 6,
        "train_epochs": 3,
        "evaluator": silent(accuracy_metrics(experience=True)),
    }
    if name == "ewc":
        return EWC(ewc_lambda=1.0, **common)
    if name == "lwf":
        return LwF(alpha=1.0, temperature=2.0, **common)
    return Naive(**common)


@pytest.mark.parametrize("name", ["naive", "ewc", "lwf"])
def test_avalanche_s_own_strategies_run_on_our_model(name):
    strategy, benchmark = avalanche_strategy(name), classic()
    before = state_of(strategy.model)
    for t, experience in enumerate(benchmark.train_stream):
        torch.manual_seed(t)
        strategy.train(experience)
        assert len(strategy.model.head.weights) == t + 1
    metrics = strategy.eval(benchmark.test_stream)
    after = state_of(strategy.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "encoder.vit.blocks.0.attn.qkv.weight" in moved and len(moved) > 30
    newest = metrics["Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp001"]
    assert newest > 0.25  # chance among four classes; old ones are forgotten


def test_avalanche_s_naive_leaves_a_frozen_backbone_and_learns_the_head():
    benchmark, model = classic(), create_model("tiny", n_classes=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    strategy = Naive(model=model, optimizer=optimizer, train_mb_size=6, evaluator=silent())
    before = state_of(model.encoder)
    losses = []
    data = Triples(6)
    for experience in benchmark.train_stream:
        strategy.train(experience)
        losses.append(float(strategy.loss))
    assert all(torch.equal(state_of(model.encoder)[name], before[name]) for name in before)
    logits = model.eval()(torch.stack([data[k][0] for k in range(8)]))
    assert logits.shape == (8, 4) and (logits > -1e3).all()


@pytest.mark.parametrize(
    "make_scheduler",
    [
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.5**epoch),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    ],
)
@pytest.mark.parametrize("method", ["lora", "ham"])
def test_schedulers_that_keep_a_value_per_group_run(benchmark, method, make_scheduler):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    plugin = LRSchedulerPlugin(make_scheduler(optimizer))
    rates: list[float] = []
    watch = Watch(before_training_epoch=lambda s: rates.append(optimizer.param_groups[0]["lr"]))
    budget = {"steps": None, "epochs": 3}
    strategy = make(method, budget, optimizer=optimizer, plugins=[plugin, watch])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert len(set(rates[:3])) >= 2 and len(rates) == 6


@pytest.mark.parametrize("method", ["lora", "l2p", "dual_prompt", "coda_prompt", "sema"])
def test_a_trained_strategy_can_be_copied(benchmark, method):
    strategy = make(method)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    twin = copy.deepcopy(strategy)
    for one in (strategy, twin):
        one.train(benchmark.train_stream[1], eval_streams=[])
    assert not differing(state_of(strategy.model), state_of(twin.model))


def test_a_benchmark_without_a_timeline_of_its_classes_trains_and_evaluates():
    sets = [as_classification_dataset(Triples(n)) for n in (6, 3)]
    benchmark = benchmark_from_datasets(train=[sets[0]], test=[sets[1]])
    strategy = make("lora", head="ridge", evaluator=silent(accuracy_metrics(stream=True)))
    strategy.train(benchmark.train_stream, eval_streams=[])
    assert strategy.model.head.classes.tolist() == [0, 1, 2, 3]
    strategy.eval(benchmark.test_stream)
    assert accuracy_row(strategy, list(benchmark.test_stream)).images == [12]
