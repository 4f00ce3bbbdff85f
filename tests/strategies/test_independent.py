"""One adapter a task, the task told: each task is evaluated as if it were the only one."""

from __future__ import annotations

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics
from toys import Watch, make, silent

from avalanche_ham import create_model
from avalanche_ham.errors import OptionError
from avalanche_ham.evaluation.accuracy import evaluate
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.runner import run
from avalanche_ham.strategies.independent import IndependentStrategy

EXPERIENCE_ACCURACY = "Top1_Acc_Exp/eval_phase/test_stream/Exp{:03d}"
OPTIONS = {"steps": 20, "lr": 5e-3}


def plain_prediction(strategy, update, experience):
    """Count by hand what a bare backbone with W0 + B A tells right among the task's classes."""
    plain = create_model("tiny", n_classes=10)
    weights = strategy.model.encoder.vit.state_dict()
    plain.encoder.vit.load_state_dict({n: weights[n] for n in plain.encoder.vit.state_dict()})
    for name, change in update.items():
        plain.encoder.vit.get_submodule(name).weight.data += change.b @ change.a
    head, mine = strategy.model.head, sorted(set(experience.dataset.targets))
    rows = [head.classes.tolist().index(c) for c in mine]
    weight, bias = torch.cat(head.weights)[rows], torch.cat(head.biases)[rows]
    right = []
    for image, target, *_ in experience.dataset.eval():
        with torch.no_grad():
            logits = weight @ plain.eval().encode(image[None]).features[0] + bias
        right.append(mine[int(logits.argmax())] == target)
    return right


def test_each_task_is_told_right_as_by_its_own_adapter_and_rows_alone(benchmark):
    evaluator = silent(accuracy_metrics(experience=True))
    strategy = make("independent", OPTIONS, evaluator=evaluator)
    strategy.train(benchmark.train_stream[:3], eval_streams=[])
    tests = list(benchmark.test_stream[:3])
    row = evaluate(strategy, tests, ["linear"])["linear"]
    updates = strategy.memory["adapters"]
    expected = [plain_prediction(strategy, u, e) for u, e in zip(updates, tests, strict=True)]
    assert row.right == [told for task in expected for told in task]
    assert row.accuracy == row.task_known == [sum(t) / len(t) for t in expected]
    assert row.images == [12] * 3
    metrics = strategy.eval(tests[::-1])  # in any order
    found = [metrics[EXPERIENCE_ACCURACY.format(k)] for k in range(3)]
    assert found == pytest.approx(row.accuracy)
    swapped = plain_prediction(strategy, updates[1], tests[0])
    assert sum(expected[0]) > 8 and swapped != expected[0]  # the adapter has a say


def test_later_tasks_change_nothing_of_an_earlier_one(benchmark):
    strategy, first = make("independent", OPTIONS), []
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
        row = evaluate(strategy, [benchmark.test_stream[0]], ["linear"])["linear"]
        first.append(row.right)
    assert first[0] == first[1] == first[2]


def test_every_task_starts_from_the_bare_backbone(benchmark):
    starts = []
    watch = Watch(before_training_exp=lambda s: starts.append(s.adapters.total()))
    strategy = make("independent", plugins=[watch])
    strategy.train(benchmark.train_stream[:3], eval_streams=[])
    assert len(starts) == 3 and strategy.adapters.n_terms == 0
    assert not any(change.any() for start in starts for change in start.values())


def test_a_task_trained_twice_is_evaluated_under_the_latest_and_an_unseen_one_under_none(benchmark):
    strategy = make("independent", OPTIONS)
    for k in (1, 0, 1):
        strategy.train(benchmark.train_stream[k], eval_streams=[])
    archive = strategy.memory["adapters"]
    assert strategy.update_of(benchmark.test_stream[1]) is archive[2]
    assert strategy.update_of(benchmark.test_stream[0]) is archive[1]
    assert strategy.update_of(benchmark.test_stream[4]) == {}


def test_periodic_evaluation_sees_the_open_adapter_on_its_own_task_alone(benchmark):
    seen = []

    def look(s):
        if not (s.adapters.is_open and s.step):
            return
        branch = s.adapters.current()
        weights = {n: layer.weight + branch[n].dense() for n, layer in s.adapters.layers.items()}
        own = all(torch.allclose(s.adapters.layers[n].merged, w) for n, w in weights.items())
        seen.append((s.experience.current_experience, own, int(s.model.competing.sum())))

    strategy = make("independent", eval_every=1, plugins=[Watch(before_eval_forward=look)])
    streams = [benchmark.test_stream[:2]]
    strategy.train(benchmark.train_stream[0], eval_streams=streams)
    assert set(seen) == {(0, True, 2), (1, False, 2)}
    assert strategy.model.competing is None
    assert all(layer.merged is None for layer in strategy.adapters.layers.values())


def test_a_run_records_no_forgetting_and_plasticity_among_the_same_classes():
    config = RunConfig(method="independent", n_tasks=3, preset="smoke", options={"rank": 2})
    record = run(config, Resources(device="cpu", probes=True), show=False)
    matrix = record["accuracy_matrix"]
    assert record["head"] == "linear" and record["fm"] == record["bwt"] == 0
    assert record["fwt"] is None  # an unseen task meets the bare backbone
    assert matrix == record["accuracy_task_known"]
    assert matrix[2][:2] == [matrix[0][0], matrix[1][1]]
    assert record["a_t"] == pytest.approx(record["a_t_merged"])


def test_a_failure_in_an_evaluation_leaves_all_classes_in_the_race(benchmark):
    def fail(strategy):
        raise RuntimeError("once")

    strategy = make("independent")
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    strategy.plugins.append(Watch(after_eval_forward=fail))
    with pytest.raises(RuntimeError, match="once"):
        strategy.eval(benchmark.test_stream)
    assert strategy.model.competing is None
    assert all(layer.merged is None for layer in strategy.adapters.layers.values())


def test_a_readout_is_refused(tiny_model):
    with pytest.raises(OptionError, match="head must be linear, .* got 'linear,ridge'"):
        IndependentStrategy(model=tiny_model(head="linear,ridge"), evaluator=silent())
