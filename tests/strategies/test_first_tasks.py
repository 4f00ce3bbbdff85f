"""Adaptation in the first tasks only: what trains later, what stays, and who predicts."""

from __future__ import annotations

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics
from sampling import some_of
from streams import logits
from toys import Watch, differing, make, silent, state_of

from avalanche_ham.errors import OptionError
from avalanche_ham.evaluation.accuracy import accuracy_rows
from avalanche_ham.heads import RidgeReadout
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.runner import run
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.strategies.registry import METHODS

EVERY = [m for m, row in METHODS.items() if row.head is None and m != "joint"]


def features(strategy, experience) -> torch.Tensor:
    """Features of an experience's images, under the weights that evaluation uses."""
    images = torch.stack([x for x, *_ in experience.dataset.eval()])
    strategy.model.eval()
    with torch.no_grad(), strategy.evaluation_weights():
        return strategy.model.encode(images).features


@pytest.mark.parametrize("method", some_of(EVERY, "ham", "lora", "linear", "sema", "sd_lora"))
def test_after_the_first_tasks_features_stay_and_the_new_rows_learn(benchmark, method):
    strategy = make(method, {"adapt_tasks": 2})
    train, test = benchmark.train_stream, benchmark.test_stream[0]
    found = []
    for experience in train[:4]:
        strategy.train(experience, eval_streams=[])
        found.append(features(strategy, test))
    assert not torch.equal(found[0], found[1]) or method == "frozen"
    assert torch.equal(found[1], found[2]) and torch.equal(found[1], found[3])
    assert strategy.n_trainable == (2 * 48 + 2) * (4 if strategy.model.head.train_old_rows else 1)
    for rows in strategy.model.head.biases:
        assert rows.abs().max() > 0
    assert len(strategy.optimizer.param_groups[0]["params"]) == 0


def test_the_head_learns_by_the_gradient_on_the_features_that_stay(benchmark):
    images: list[torch.Tensor] = []

    def keep(strategy):
        if strategy.task == 1:
            images.append((strategy.mb_x.clone(), strategy.mb_y.clone()))

    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    watch = Watch(
        before_forward=keep,
        before_training_exp=lambda s: starts.append(s.model.head.tasks[-1].weight.clone()),
    )
    starts: list[torch.Tensor] = []
    strategy = make("linear", {"adapt_tasks": 1, "steps": 1}, optimizer=sgd, plugins=[watch])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    ((x, y),) = images
    with torch.no_grad(), strategy.evaluation_weights():
        f = strategy.model.eval().encode(x).features
    classes = sorted(set(strategy.model.head.current))
    weight = starts[1].detach().clone()
    gradient = torch.zeros_like(weight)
    for row, label in zip(f, y.tolist(), strict=True):  # dCE/dw_c = (p_c - [c = y]) f
        p = torch.softmax(weight @ row, 0)
        for place, c in enumerate(classes):
            gradient[place] += (p[place] - float(c == label)) * row / len(y)
    found = strategy.model.head.tasks[-1].weight.detach()
    torch.testing.assert_close(found, weight - 0.1 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["fsa", "ham", "inflora"])
def test_with_a_readout_alone_nothing_trains_after_the_first_tasks(benchmark, method):
    updates = []
    strategy = make(
        method, {"adapt_tasks": 1}, head="ridge", plugins=[Watch(after_update=updates.append)]
    )
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
    assert len(updates) == 4 and strategy.n_trainable == 0


def test_ridge_then_is_ridge_regression_on_features_adapted_to_the_first_task(benchmark):
    strategy = make("fsa", head="ridge")
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
    parts = [features(strategy, e) for e in benchmark.train_stream[:3]]
    targets = [torch.tensor(list(e.dataset.targets)) for e in benchmark.train_stream[:3]]
    alone = RidgeReadout(48, 10, seed=0).fit(torch.cat(parts), torch.cat(targets))
    new = features(strategy, benchmark.test_stream[1])
    torch.testing.assert_close(strategy.model.readout(new), alone(new), rtol=1e-3, atol=1e-3)
    bare = make("ridge", head="ridge")
    bare.train(benchmark.train_stream[0], eval_streams=[])
    assert not torch.allclose(features(bare, benchmark.test_stream[1]), new, atol=1e-3)


def test_heads_measured_together_score_as_each_alone(benchmark):
    found = {}
    for heads in ("linear", "ridge", "ridge,linear"):
        strategy = make("ham", {"adapt_tasks": 1}, head=heads)
        for experience in benchmark.train_stream[:3]:
            strategy.train(experience, eval_streams=[])
        with strategy.evaluation_weights():
            names = heads.split(",")
            rows = accuracy_rows(strategy, list(benchmark.test_stream[:3]), names)
        found[heads] = {name: row.right for name, row in rows.items()}
    both = found["ridge,linear"]
    assert both == {**found["linear"], **found["ridge"]}


def test_adapting_in_more_tasks_than_there_are_changes_nothing(benchmark):
    plain, asked = make("ham"), make("ham", {"adapt_tasks": 9})
    for strategy in (plain, asked):
        strategy.train(benchmark.train_stream[:3], eval_streams=[])
    assert not differing(state_of(plain.model), state_of(asked.model))


@pytest.mark.parametrize("method", ["fsa", "ham"])
def test_a_saved_state_goes_on_alike(benchmark, tmp_path, method):
    strategy, again = (make(method, {"adapt_tasks": 1}, head="linear,ridge") for _ in range(2))
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    save_tree(tmp_path, strategy.state_tree())
    again.load_state_tree(load_tree(tmp_path))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert not differing(state_of(strategy.model), state_of(again.model))


def test_evaluation_within_a_later_task_and_a_failure_in_it_leave_no_trace(benchmark):
    options = {"adapt_tasks": 1}
    plain = make("ham", options)
    evaluator = silent(accuracy_metrics(stream=True))
    watched = make("ham", options, evaluator=evaluator, eval_every=1, peval_mode="iteration")
    for experience in benchmark.train_stream[:2]:
        plain.train(experience, eval_streams=[])
        watched.train(experience, eval_streams=[benchmark.test_stream[:2]])
    assert not differing(state_of(plain.model), state_of(watched.model))

    def fail(strategy):
        raise KeyboardInterrupt

    hook = Watch(after_update=fail)
    plain.plugins.append(hook)
    with pytest.raises(KeyboardInterrupt):
        plain.train(benchmark.train_stream[2], eval_streams=[])
    plain.plugins.remove(hook)
    assert torch.equal(logits(plain), logits(watched))
    for one in (plain, watched):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert not differing(state_of(plain.model), state_of(watched.model))


def test_the_probe_of_a_later_task_sees_the_weights_that_stay(benchmark):
    seen = []
    strategy = make("linear", {"adapt_tasks": 1})
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    expected = features(strategy, benchmark.test_stream[0])
    images = torch.stack([x for x, *_ in benchmark.test_stream[0].dataset.eval()])

    def probe(current):
        current.model.eval()
        with torch.no_grad():
            seen.append(current.model.encode(images).features)

    strategy.probe = probe
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert torch.equal(seen[0], expected)


def test_a_run_with_probes_records_what_stays_as_its_own_plasticity():
    options = {"adapt_tasks": 1, "rank": 2}
    config = RunConfig(method="continual_ties", n_tasks=3, preset="smoke", options=options)
    record = run(config, Resources(device="cpu", probes=True), show=False)
    assert record["a_t"] == pytest.approx(record["a_t_merged"])
    assert record["trainable_parameters"][0] > record["trainable_parameters"][1] > 0


def test_fewer_than_one_task_is_refused():
    with pytest.raises(OptionError, match="adapt_tasks must be at least 1"):
        make("lora", {"adapt_tasks": 0})
