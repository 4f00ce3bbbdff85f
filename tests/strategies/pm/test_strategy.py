"""P&M as a strategy: the perturbed step, the merge from running sums, what is kept."""

from __future__ import annotations

import pytest
import torch
from toys import Watch, make, state_of

from avalanche_ham.adapters import dense
from avalanche_ham.errors import OptionError
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.pm import strategy as strategy_module


def test_the_merge_from_running_sums_is_that_from_all_tasks_kept_apart(benchmark, monkeypatch):
    fishers, optima, merged = [], [], []

    def kept(strategy, batches):
        found = original(strategy, batches)
        fishers.append({n: h.clone() for n, h in found.items()})
        optima.append(strategy.adapters.total())  # theta_t, as a change of the backbone
        return found

    original = strategy_module.diagonal_fisher
    monkeypatch.setattr(strategy_module, "diagonal_fisher", kept)
    strategy = make("pm", {"lr": 0.02})
    merged.append({n: torch.zeros_like(w.weight) for n, w in strategy.adapters.layers.items()})
    for experience in benchmark.train_stream[:4]:
        strategy.train(experience, eval_streams=[])
        before, newest = merged[-1], optima[-1]
        above = below = 0.0  # alpha_t of P&M, term by term
        for fisher, optimum in zip(fishers, optima, strict=True):
            for name, h in fisher.items():
                change = newest[name] - before[name]
                above -= float(((before[name] - optimum[name]) * h * change).double().sum())
                below += float((change * h * change).double().sum())
        alpha = above / below
        assert strategy.memory["scales"][-1] == pytest.approx(alpha, rel=1e-3)
        merged.append({n: w + alpha * (newest[n] - w) for n, w in before.items()})
        for name, change in strategy.inference_update().items():
            torch.testing.assert_close(change, merged[-1][name], rtol=1e-3, atol=1e-5)
    scales = strategy.describe()["scales"]
    assert scales[0] == pytest.approx(1.0) and all(abs(s - 1) > 0.01 for s in scales[1:])
    assert strategy.adapters.n_terms == 1


def test_after_a_merge_no_step_along_the_update_serves_all_tasks_better(benchmark):
    strategy = make("pm", {"lr": 0.02})
    changes = []
    strategy.probe = lambda s: changes.append(s.adapters.current())
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
        slope = scale = 0.0
        for name, pair in changes[-1].items():
            delta = pair.dense()
            slope += float((strategy.memory["pull"][name] * delta).sum())
            scale += float((strategy.memory["importance"][name] * delta.square()).sum())
        assert abs(slope) < 1e-4 * scale


def test_every_step_counts_the_update_by_one_of_three_numbers_and_looks_count_it_once(benchmark):
    seen, between = [], []
    watch = Watch(
        after_forward=lambda s: seen.append(float(s.adapters.scales[-1])),
        after_training_iteration=lambda s: between.append(float(s.adapters.scales[-1])),
    )
    strategy = make("pm", {"steps": 90, "batch_size": 2, "lr": 1e-4}, plugins=[watch])
    strategy.probe = lambda s: between.append(float(s.adapters.scales[-1]))
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert set(seen) == {0.5, 1.0, 1.5} and len(seen) == 90
    assert all(15 < seen.count(times) < 45 for times in set(seen))
    assert set(between) == {1.0} and len(between) == 91


def test_the_gradient_is_that_of_the_scaled_update(benchmark):
    def look(strategy):
        layer = strategy.adapters.layers["blocks.2.attn.qkv"]
        branch, times = layer.branch, float(strategy.adapters.scales[-1])
        state = [p.grad.clone() for p in (branch.a, branch.b)]
        strategy.model.eval()
        original = branch.b.data.clone()
        with torch.enable_grad():
            for each in strategy.adapters.layers.values():
                each.branch.b.data.mul_(times)
            scales = strategy.adapters.scales.data.clone()
            strategy.adapters.scales.data.fill_(1.0)
            logits = strategy.model.head(strategy.model.encode(strategy.mb_x).features)
            loss = strategy.scoped_loss.training_loss(logits, strategy.mb_y)
            at_a, at_b = torch.autograd.grad(loss, [branch.a, branch.b])
        torch.testing.assert_close(state[0], at_a, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(state[1], times * at_b, rtol=1e-3, atol=1e-6)
        for each in strategy.adapters.layers.values():
            each.branch.b.data.div_(times)
        torch.testing.assert_close(branch.b.data, original)
        strategy.adapters.scales.data.copy_(scales)
        strategy.model.train()
        counted.append(times)

    counted: list[float] = []
    strategy = make("pm", {"steps": 12, "lr": 0.05}, plugins=[Watch(before_update=look)])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert len(set(counted)) == 3


def test_without_perturbation_the_first_task_is_that_of_one_lora(benchmark):
    updates = []
    for method, options in (("pm", {"perturbation": 0.0}), ("linear", {"weights_rule": "one"})):
        strategy = make(method, options)
        strategy.train(benchmark.train_stream[0], eval_streams=[])
        updates.append({n: dense(c) for n, c in strategy.inference_update().items()})
    for name, change in updates[0].items():
        assert change.any()
        torch.testing.assert_close(change, updates[1][name], rtol=1e-5, atol=1e-8)


def test_what_is_kept_does_not_grow_with_the_tasks(benchmark):
    strategy, sizes = make("pm"), []
    for experience in benchmark.train_stream[:4]:
        strategy.train(experience, eval_streams=[])
        sizes.append(count_stored({k: v for k, v in strategy.memory.items() if k != "scales"}))
    bound = 3 * 48 * 144  # of dense changes of the tiny ViT's layers
    assert sizes[0] <= 2 * bound  # the first task is served wholly: nothing pulls at it
    assert sizes[1] == sizes[2] == sizes[3] <= 3 * bound


def test_the_fisher_may_be_taken_from_fewer_images(benchmark, monkeypatch):
    counts = []

    def counted(strategy, batches):
        batches = list(batches)
        counts.append(sum(len(batch[1]) for batch in batches))
        return original(strategy, batches)

    original = strategy_module.diagonal_fisher
    monkeypatch.setattr(strategy_module, "diagonal_fisher", counted)
    for images in (None, 5):
        make("pm", {"fisher_images": images}).train(benchmark.train_stream[0], eval_streams=[])
    assert counts == [24, 5]


def test_frozen_weights_stay_to_the_last_bit(benchmark):
    strategy = make("pm")
    before = state_of(strategy.model)
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    after = state_of(strategy.model)
    names = [n for n in before if n.startswith("encoder.") and ".terms." not in n]
    assert len(names) > 30 and all(torch.equal(before[n], after[n]) for n in names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 99}, "rank must be between 1 and 48"),
        ({"perturbation": 1.0}, "perturbation must be at least 0 and below 1"),
        ({"fisher_images": 0}, "fisher_images must be at least 1"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        make("pm", options)
