"""What every method of one file has to do: go on after a stop, run long, take any benchmark."""

from __future__ import annotations

import warnings

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EWCPlugin, ReplayPlugin
from sampling import some_of
from streams import classic, logits
from toys import differing, make, silent, state_of

from avalanche_ham import create_model
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.runs.settings import build_strategy, resolve

METHODS = ["o_lora", "independent", "lora_er", "i_lora", "moe_lora", "pm", "pam_er"]


def quick(method: str, n_classes: int, **options):
    values = resolve(method, {"rank": 4, "steps": 1, "batch_size": 4}, options)
    model = create_model("tiny", n_classes=n_classes)
    return build_strategy(method, values, model=model, evaluator=silent())


@pytest.mark.parametrize("method", some_of(METHODS, "moe_lora", "pm"))
def test_it_beats_chance_on_two_tasks(benchmark, method):
    evaluator = silent(accuracy_metrics(stream=True))
    options = {"steps": 30, "lr": 5e-3, "batch_size": 24}
    strategy = make(method, options, evaluator=evaluator)
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    (accuracy,) = strategy.eval(benchmark.test_stream[:2]).values()
    assert accuracy > 0.4  # of four classes


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_state_predicts_and_goes_on_alike(benchmark, tmp_path, method):
    strategy, again = make(method, seed=4), make(method, seed=4)
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    save_tree(tmp_path, strategy.state_tree())
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert not differing(state_of(again.model), state_of(strategy.model))
    assert torch.equal(logits(again), logits(strategy))


@pytest.mark.parametrize("method", METHODS)
def test_the_classic_benchmark_with_triples_in_bf16(method):
    data = classic()
    strategy = quick(method, 4, precision="bf16")
    for experience in data.train_stream:
        strategy.train(experience)
        strategy.eval(data.test_stream)
    assert (logits(strategy) > -1e3).any(1).all()


@pytest.mark.parametrize("method", METHODS)
def test_many_tasks(long_benchmark, method):
    strategy = quick(method, long_benchmark.n_classes)
    for experience in long_benchmark.train_stream:
        strategy.train(experience, eval_streams=[])
    assert logits(strategy).isfinite().all()
    assert len(strategy.model.head.classes) == long_benchmark.n_classes


@pytest.mark.parametrize("method", METHODS)
def test_avalanche_s_plugins_run_with_it(benchmark, method):
    plugins = [ReplayPlugin(8), EWCPlugin(1.0, mode="online", decay_factor=0.5)]
    strategy = make(method, {"scope": "seen"}, plugins=plugins)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where EWC has nothing to hold, it is said
        strategy.train(benchmark.train_stream[:2], eval_streams=[])
    assert len(plugins[0].storage_policy.buffer) == 8


@pytest.mark.parametrize("method", METHODS)
def test_evaluation_changes_no_tensor_and_draws_nothing(benchmark, method):
    strategy = make(method)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    state, before = torch.get_rng_state(), state_of(strategy.model)
    strategy.eval(benchmark.test_stream)
    assert torch.equal(torch.get_rng_state(), state)
    assert not differing(state_of(strategy.model), before)
