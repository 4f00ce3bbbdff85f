"""O-LoRA: the penalty in training, what trains, what is folded, what is kept."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from toys import Watch, differing, make, state_of

from avalanche_ham.errors import OptionError, UnknownNameError

LAYERS, WIDTH, RANK = 3, 48, 4  # of the tiny ViT and toys.SMALL


def trained(benchmark, n_tasks: int = 3, options=None, **common):
    strategy = make("o_lora", options, **common)
    strategy.train(benchmark.train_stream[:n_tasks], eval_streams=[])
    return strategy


@pytest.mark.parametrize("slots", [None, ("q", "v")])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_cross_entropy_and_both_penalties(benchmark, slots, reduction):
    seen = []

    def compare(strategy):
        classes = sorted(strategy.model.head.current)
        targets = torch.tensor([classes.index(int(y)) for y in strategy.mb_y])
        expected = float(F.cross_entropy(strategy.mb_output[:, classes].detach(), targets))
        overlaps, norms = [], 0.0
        for name, layer in strategy.adapters.layers.items():
            pairs = 1 if slots is None else len(slots)
            a = layer.branch.a.detach().view(pairs, RANK, WIDTH)
            for slot in range(pairs):
                norms += float(a[slot].norm()) + float(layer.branch.b[slot].detach().norm())
                for update in strategy.memory["adapters"]:
                    old = update[name].a.view(pairs, RANK, WIDTH)[slot]
                    overlaps += [abs(float(x @ y)) for x in a[slot] for y in old]
        if overlaps:
            total = sum(overlaps)
            expected += 0.7 * (total if reduction == "sum" else total / len(overlaps))
        expected += 0.2 * norms
        assert float(strategy.loss.detach()) == pytest.approx(expected, rel=1e-4)
        seen.append(len(overlaps))

    options = {"orthogonal": 0.7, "decay": 0.2, "reduction": reduction, "steps": 2}
    if slots:
        options["slots"] = slots
    trained(benchmark, 3, options, plugins=[Watch(before_backward=compare)])
    one = LAYERS * RANK * RANK * (1 if slots is None else 2)
    assert seen == [0, 0, one, one, 2 * one, 2 * one]


def test_the_penalty_turns_new_directions_away_from_old_ones(benchmark):
    def overlap(weight: float) -> float:
        strategy = trained(benchmark, 2, {"orthogonal": weight, "steps": 30, "lr": 3e-3})
        first, second = strategy.memory["adapters"]
        return sum(float((second[n].a @ first[n].a.T).abs().sum()) for n in first)

    assert overlap(5.0) < 0.2 * overlap(0.0)


def test_the_penalty_is_zero_where_the_directions_are_orthogonal(benchmark):
    strategy = trained(benchmark, 1)
    strategy.begin_task(None)
    assert strategy.penalty() > 0
    for name, layer in strategy.adapters.layers.items():
        old = strategy.memory["adapters"][0][name].a
        free = torch.linalg.qr(old.T, mode="complete").Q[:, RANK:]
        layer.branch.a.data.copy_(free.T[:RANK])
    assert strategy.penalty() < 1e-4


def test_training_and_inference_use_the_scaled_sum_of_all_adapters(benchmark):
    strategy = make("o_lora", {"scale": 4.0})
    updates = []
    strategy.probe = lambda s: updates.append((s.adapters.current(), s.inference_update()))
    strategy.train(benchmark.train_stream[:3], eval_streams=[])
    for k, (_, during) in enumerate(updates):
        for name, change in during.items():
            total = sum(4.0 * u[name].b @ u[name].a for u, _ in updates[: k + 1])
            torch.testing.assert_close(change, total, rtol=1e-4, atol=1e-6)
    for name, change in strategy.inference_update().items():
        torch.testing.assert_close(change, updates[-1][1][name], rtol=1e-4, atol=1e-6)
    assert strategy.adapters.n_terms == 1  # a step costs the same at every task


def test_only_the_new_adapter_and_rows_train_and_each_starts_without_effect(benchmark):
    starts = []

    def look(strategy):
        layers = strategy.adapters.layers.values()
        starts.append(
            (layers.__iter__().__next__().branch.a.detach().clone(), state_of(strategy.model))
        )
        assert not any(layer.branch.b.any() for layer in layers)

    strategy = make("o_lora", plugins=[Watch(before_training_exp=look)])
    bare = state_of(strategy.model)
    strategy.train(benchmark.train_stream[:3], eval_streams=[])
    assert not torch.equal(starts[0][0], starts[1][0])
    assert strategy.n_trainable == LAYERS * RANK * (WIDTH + 3 * WIDTH) + 2 * WIDTH + 2
    final = state_of(strategy.model)
    assert {n for n in differing(bare, final) if n in bare and "terms" not in n} <= {
        "head.classes",
        "adapters.scales",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 99}, "rank must be between 1 and 48"),
        ({"scale": 0.0}, "scale must be above 0"),
        ({"orthogonal": -1.0}, "orthogonal must be at least 0"),
        ({"decay": -0.1}, "decay must be at least 0"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        make("o_lora", options)


def test_an_unknown_reduction_is_refused(tiny_model):
    from avalanche_ham.strategies.o_lora import OLoRAStrategy

    with pytest.raises(UnknownNameError, match="reduction must be one of mean, sum"):
        OLoRAStrategy(model=tiny_model(), reduction="total")
