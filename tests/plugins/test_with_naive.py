"""The three plugins with Avalanche's plain Naive: no strategy of ours is needed."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import LRSchedulerPlugin
from avalanche.training.supervised import Naive
from streams import classic
from toys import Watch, silent, state_of

from avalanche_ham import (
    AdapterGroupingPlugin,
    AlphaBalancingPlugin,
    FinalMergingPlugin,
    ScopedCrossEntropy,
    create_model,
)
from avalanche_ham.errors import HamError
from avalanche_ham.strategies.ham import merge_groups


class Parts:
    """Naive with the three plugins on an adapter set of their own."""

    def __init__(self, *, n_classes: int = 10, plugins=(), eval_every=-1, **grouping) -> None:
        self.model = create_model("tiny", n_classes=n_classes)
        self.adapters = self.model.attach_adapters()
        self.balancing = AlphaBalancingPlugin(self.adapters, rank=4, alpha=0.8, alpha_lr=0.05)
        self.grouping = AdapterGroupingPlugin(self.adapters, **grouping)
        self.merging = FinalMergingPlugin(
            self.adapters, update=partial(merge_groups, self.adapters, self.grouping)
        )
        self.strategy = Naive(
            model=self.model,
            optimizer=torch.optim.AdamW(self.model.parameters(), lr=1e-2, weight_decay=0.01),
            criterion=ScopedCrossEntropy(self.model.head, "current"),
            train_mb_size=8,
            train_epochs=2,
            plugins=[self.balancing, self.grouping, self.merging, *plugins],
            eval_every=eval_every,
            evaluator=silent(accuracy_metrics(experience=True, stream=True)),
        )


def test_alphas_train_groups_form_and_evaluation_is_merged(benchmark):
    merged_seen = []
    watch = Watch(
        before_eval_exp=lambda s: merged_seen.append(
            parts.adapters.layers["blocks.0.attn.qkv"].merged
        )
    )
    parts = Parts(threshold=2.0, max_groups=2, plugins=[watch])
    frozen = {n: t for n, t in state_of(parts.model.encoder).items() if ".terms." not in n}
    torch.manual_seed(0)
    for t, experience in enumerate(benchmark.train_stream[:3]):
        parts.strategy.train(experience)
        assert not parts.adapters.is_open
        log = parts.balancing.memory["alphas"][t]
        assert len(log["start"]) == len(log["end"]) == min(t, 2) + 1
        moved = [abs(a - b) for a, b in zip(log["start"], log["end"], strict=True)]
        assert log["start"][-1] == pytest.approx(0.8) and all(m > 1e-3 for m in moved)
        metrics = parts.strategy.eval(benchmark.test_stream[: t + 1])
    assert parts.grouping.memory["groups"][:2] == [0, 1]
    assert parts.adapters.n_terms == 2 and len(parts.grouping.memory["adapters"]) == 3
    assert merged_seen and all(weight is not None for weight in merged_seen)
    after = state_of(parts.model.encoder)
    assert all(torch.equal(after[name], frozen[name]) for name in frozen)
    newest = metrics["Top1_Acc_Exp/eval_phase/test_stream/Exp002"]
    own = parts.adapters.term(0)["blocks.0.attn.qkv"]
    assert newest > 0.1 and own.abs().max() > 0
    first = parts.adapters.layers["blocks.0.attn.qkv"]
    alphas = parts.adapters.scales.tolist()
    terms = [parts.adapters.term(j)["blocks.0.attn.qkv"] for j in range(2)]
    expected = first.weight + alphas[0] * terms[0] + alphas[1] * terms[1]
    torch.testing.assert_close(merged_seen[-1], expected.detach())


def test_only_the_open_adapter_the_alphas_and_the_newest_rows_move(benchmark):
    moved = []

    def compare(strategy):
        after = state_of(parts.model)
        moved.append({n for n in before[-1] if not torch.equal(before[-1][n], after[n])})

    before = []
    watch = Watch(
        before_training_epoch=lambda s: before.append(state_of(parts.model)),
        after_training_epoch=compare,
    )
    parts = Parts(plugins=[watch])
    for t, experience in enumerate(benchmark.train_stream[:3]):
        parts.strategy.train(experience)
        expected = {"adapters.scales", f"head.tasks.{t}.weight", f"head.tasks.{t}.bias"}
        expected |= {f"encoder.vit.blocks.{b}.attn.qkv.branch.{f}" for b in range(3) for f in "ab"}
        assert moved[-1] == expected


def test_the_scalars_are_in_a_group_of_their_own_with_their_rate_and_no_decay(benchmark):
    seen = []

    def look(strategy):
        groups = strategy.optimizer.param_groups
        mine = [g for g in groups if any(p is parts.adapters.scales for p in g["params"])]
        assert len(mine) == 1 and len(mine[0]["params"]) == 1
        assert mine[0]["lr"] == 0.05 and mine[0]["weight_decay"] == 0.0
        assert all(g["lr"] == 1e-2 for g in groups if g is not mine[0])
        seen.append(strategy.clock.train_exp_counter)

    parts = Parts(plugins=[Watch(before_training_iteration=look)])
    for experience in benchmark.train_stream[:3]:
        parts.strategy.train(experience)
    assert set(seen) == {0, 1, 2}


def test_merging_in_the_middle_of_training_is_possible_and_changes_nothing(benchmark):
    def look(strategy):
        (layer, *_) = parts.adapters.layers.values()
        merged.append((parts.adapters.is_open, layer.merged is not None, layer.merged))

    def reseed(strategy):  # an evaluation's loader draws from the random state
        torch.manual_seed(strategy.clock.train_exp_iterations)

    finals, merged = [], []
    for eval_every in (-1, 1):
        parts = Parts(eval_every=eval_every, plugins=[Watch(before_eval_exp=look)])
        again = Watch(before_train_dataset_adaptation=reseed, before_training_epoch=reseed)
        parts.strategy.plugins.insert(0, again)
        for experience in benchmark.train_stream[:2]:
            parts.strategy.train(experience, eval_streams=[benchmark.test_stream[:1]])
        finals.append(state_of(parts.model))
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
    open_ones = [weight for is_open, is_merged, weight in merged if is_open and is_merged]
    assert len(open_ones) >= 4 and not torch.equal(open_ones[-2], open_ones[-1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_of_the_strategy_merges_its_own_groups(benchmark, copied):
    parts = Parts()
    parts.strategy.train(benchmark.train_stream[0])
    twin = copied(parts.strategy)
    twin.train(benchmark.train_stream[1])
    (grouping,) = (p for p in twin.plugins if isinstance(p, AdapterGroupingPlugin))
    (merging,) = (p for p in twin.plugins if isinstance(p, FinalMergingPlugin))
    merged, expected = merging.update(), merge_groups(twin.model.adapters, grouping)
    assert grouping.adapters is merging.adapters is twin.model.adapters
    assert all(torch.equal(merged[name], expected[name]) for name in expected)
    original = merge_groups(parts.adapters, parts.grouping)
    assert not any(torch.equal(merged[name], original[name]) for name in original)


def test_they_run_on_a_classic_benchmark_of_triples():
    parts, benchmark = Parts(n_classes=4), classic()
    for experience in benchmark.train_stream:
        parts.strategy.train(experience)
        metrics = parts.strategy.eval(benchmark.test_stream)
    assert len(parts.grouping.memory["groups"]) == 2
    assert any(name.startswith("Top1_Acc_Stream") for name in metrics)


def test_adapters_of_another_model_are_refused(benchmark):
    parts = Parts()
    other = create_model("tiny", n_classes=10)
    strategy = Naive(
        model=other,
        optimizer=torch.optim.SGD(other.parameters(), lr=0.1),
        plugins=[parts.balancing],
        evaluator=silent(),
    )
    with pytest.raises(HamError, match="not part of the strategy's model"):
        strategy.train(benchmark.train_stream[0])


def test_a_task_that_was_interrupted_starts_again_from_the_scalars_of_before(benchmark):
    def interrupt(strategy):
        if strategy.clock.train_exp_counter == 1 and not stopped:
            stopped.append(parts.adapters.scales.tolist())
            if strategy.clock.train_exp_iterations:
                raise KeyboardInterrupt
            stopped.clear()

    stopped: list[list[float]] = []
    parts = Parts(plugins=[Watch(after_update=interrupt)])
    parts.strategy.train(benchmark.train_stream[0])
    before = parts.adapters.scales.tolist()
    with pytest.raises(KeyboardInterrupt):
        parts.strategy.train(benchmark.train_stream[1])
    assert stopped[0][0] != before[0]
    parts.strategy.train(benchmark.train_stream[1])
    starts = [log["start"] for log in parts.balancing.memory["alphas"]]
    assert starts == [[pytest.approx(0.8)], [before[0], pytest.approx(0.8)]]


@pytest.mark.parametrize("settings", [{"momentum": 0.9, "weight_decay": 0.1}, {}])
def test_without_a_rate_of_their_own_the_scalars_follow_the_adapter_s(benchmark, settings):
    parts, seen = Parts(), []
    parts.balancing.alpha_lr = None
    group = {"params": list(parts.model.parameters()), "lr": 0.05, **settings}
    optimizer = parts.strategy.optimizer = torch.optim.SGD([group], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2)

    def look(strategy):
        groups = optimizer.param_groups
        scales, factor = parts.adapters.scales, next(iter(parts.adapters.layers.values()))
        (mine,) = [g for g in groups if any(p is scales for p in g["params"])]
        (theirs,) = [g for g in groups if any(p is factor.branch.a for p in g["params"])]
        assert mine["weight_decay"] == 0.0 and mine["momentum"] == theirs["momentum"]
        seen.append((mine["lr"], theirs["lr"]))

    watch = Watch(before_training_epoch=look)
    parts.strategy.plugins += [LRSchedulerPlugin(scheduler), watch]
    for experience in benchmark.train_stream[:3]:
        parts.strategy.train(experience)
    first_epochs = seen[::2]
    assert first_epochs == [(0.05, 0.05)] * 3  # a scheduler resets those it knows alone
