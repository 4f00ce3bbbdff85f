"""Table 4's accuracies against models put together by hand."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham import HAMStrategy
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.evaluation.hierarchy import hierarchy
from avalanche_ham.strategies.sequential import SequentialStrategy


@pytest.fixture
def trained(tiny_model, benchmark):
    def make(**options):
        ham = HAMStrategy(
            model=tiny_model(),
            rank=2,
            lr=0.02,
            steps=8,
            evaluator=None,
            seed=1,
            **options,
        )
        for experience in benchmark.train_stream:
            ham.train(experience, eval_streams=[])
        return ham, list(benchmark.test_stream)

    return make


def _accuracy(strategy, experience, deltas):
    """Put ``W0 + delta`` into the layers for good, and count."""
    layers = strategy.adapters.layers
    for name, layer in layers.items():
        layer.merged = layer.weight.detach() + deltas[name]
    found = accuracy_row(strategy, [experience]).accuracy[0]
    strategy.adapters.restore()
    return found


def test_each_accuracy_is_that_of_the_weights_it_names(trained):
    ham, tests = trained(keep_unpruned=True)
    found = hierarchy(ham, tests)
    memory = ham.grouping.memory
    for t, experience in enumerate(tests):
        entry, group = memory["unpruned"][t], memory["groups"][t]
        own = {n: entry["alpha"] * c.b @ c.a for n, c in entry["update"].items()}
        pruned = {n: entry["alpha"] * c.b @ c.a for n, c in memory["adapters"][t].items()}
        shared = {
            n: memory["alphas"][group]
            * sum(
                u[n].b @ u[n].a for u, g in zip(memory["adapters"], memory["groups"]) if g == group
            )
            for n in own
        }
        assert found["individual"][t] == _accuracy(ham, experience, own)
        assert found["pruned"][t] == _accuracy(ham, experience, pruned)
        assert found["group"][t] == _accuracy(ham, experience, shared)
    with ham.evaluation_weights():
        assert found["merged"] == accuracy_row(ham, tests).accuracy
    assert found["groups"] == memory["groups"]


def test_parameters_are_those_before_and_after_pruning(trained):
    ham, tests = trained(keep_unpruned=True, keep=0.5)
    found = hierarchy(ham, tests)
    full = sum(c.a.numel() + c.b.numel() for c in ham.grouping.memory["adapters"][0].values())
    assert found["parameters"] == [full] * 5
    assert found["parameters_pruned"] == [full // 2] * 5


def test_one_task_per_group_without_pruning_is_the_same_thrice(trained):
    ham, tests = trained(keep_unpruned=True, keep=1.0, assignment="none", train_alphas=False)
    found = hierarchy(ham, tests)
    assert found["individual"] == found["pruned"] == found["group"]


def test_looking_leaves_the_model_as_it_was(trained):
    ham, tests = trained(keep_unpruned=True)
    before = {n: t.clone() for n, t in ham.model.state_dict().items()}
    hierarchy(ham, tests)
    assert all(layer.merged is None for layer in ham.adapters.layers.values())
    assert all(torch.equal(t, before[n]) for n, t in ham.model.state_dict().items())


def test_there_is_nothing_to_say_without_the_unpruned_adapters(trained, tiny_model, benchmark):
    ham, tests = trained()
    assert hierarchy(ham, tests) is None
    assert hierarchy(SequentialStrategy(model=tiny_model(), evaluator=None), tests) is None
