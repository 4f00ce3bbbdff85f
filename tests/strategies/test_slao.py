"""SLAO: where a task starts, what merges, what is kept."""

from __future__ import annotations

import math

import pytest
import torch
from streams import classic, logits
from toys import Watch, differing, make, state_of

from avalanche_ham.adapters.orthonormal import orthonormal_rows
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.slao import SLAOStrategy


def watched(benchmark, n_tasks: int = 4, **options):
    """A trained strategy with the factors that each task started from and ended with."""
    starts, ends = [], []
    watch = Watch(
        before_training_epoch=lambda s: s.step == 0 and starts.append(s.adapters.current())
    )
    strategy = make("slao", options, plugins=[watch])
    strategy.probe = lambda s: ends.append(s.adapters.current())
    for experience in benchmark.train_stream[:n_tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy, starts, ends


def merged_by_loop(ends, factor: str, name: str, weight):
    """B_m <- B_m + lambda(i) (B_ft,i - B_m), entry by entry."""
    merged = getattr(ends[0][name], factor).flatten().tolist()
    for i, trained in enumerate(ends[1:], 2):
        newest = getattr(trained[name], factor).flatten().tolist()
        merged = [m + weight(i) * (n - m) for m, n in zip(merged, newest)]
    return torch.tensor(merged).view_as(getattr(ends[0][name], factor))


def test_a_task_starts_from_the_last_a_orthonormal_and_the_last_b(benchmark):
    _, starts, ends = watched(benchmark)
    for start, before in zip(starts[1:], ends):
        for name, pair in start.items():
            torch.testing.assert_close(pair.a @ pair.a.T, torch.eye(4))
            torch.testing.assert_close(pair.a, orthonormal_rows(before[name].a))
            assert torch.equal(pair.b, before[name].b)
    assert all((pair.b == 0).all() for pair in starts[0].values())


@pytest.mark.parametrize(
    ("merge_weight", "weight"),
    [("sqrt", lambda i: 1 / math.sqrt(i)), ("inverse", lambda i: 1 / i), (0.3, lambda i: 0.3)],
)
def test_b_is_merged_and_a_replaced(benchmark, merge_weight, weight):
    strategy, _, ends = watched(benchmark, merge_weight=merge_weight)
    for name, pair in strategy.inference_update().items():
        assert torch.equal(pair.a, ends[-1][name].a)
        torch.testing.assert_close(pair.b, merged_by_loop(ends, "b", name, weight))
        assert not torch.allclose(pair.b, ends[-1][name].b, atol=1e-4)


@pytest.mark.parametrize("merged", ["a", "both"])
def test_other_factors_can_be_merged(benchmark, merged):
    strategy, _, ends = watched(benchmark, merged=merged)
    for name, pair in strategy.inference_update().items():
        a = merged_by_loop(ends, "a", name, lambda i: i**-0.5)
        torch.testing.assert_close(pair.a, a)
        b = merged_by_loop(ends, "b", name, lambda i: i**-0.5)
        torch.testing.assert_close(pair.b, b if merged == "both" else ends[-1][name].b)


def test_a_task_can_start_from_the_merged_pair_or_afresh(benchmark):
    strategy, starts, _ = watched(benchmark, 2, init="merged")
    merged = strategy.inference_update()
    watch = Watch(
        before_training_epoch=lambda s: s.step == 0 and starts.append(s.adapters.current())
    )
    strategy.plugins.append(watch)
    strategy.train(benchmark.train_stream[2], eval_streams=[])
    for name, pair in starts[-1].items():
        assert torch.equal(pair.b, merged[name].b)
        torch.testing.assert_close(pair.a, orthonormal_rows(merged[name].a))
    _, starts, _ = watched(benchmark, init="random")
    assert all((pair.b == 0).all() for start in starts for pair in start.values())
    first, second = (start["blocks.0.attn.qkv"].a for start in starts[:2])
    assert not torch.equal(first, second) and not torch.allclose(second @ second.T, torch.eye(4))


@pytest.mark.parametrize("init", ["last", "merged"])
def test_a_task_can_start_from_a_pair_as_it_is(benchmark, init):
    strategy, starts, ends = watched(benchmark, 3, init=init, orthonormal=False)
    for name, pair in starts[2].items():
        assert torch.equal(pair.a, ends[1][name].a)  # of the merged pair too, as A is replaced
        b = merged_by_loop(ends[:2], "b", name, lambda i: i**-0.5)
        torch.testing.assert_close(pair.b, ends[1][name].b if init == "last" else b)
        assert not torch.equal(pair.a, ends[2][name].a)
        kept = strategy.inference_update()[name].b
        torch.testing.assert_close(kept, merged_by_loop(ends, "b", name, lambda i: i**-0.5))


@pytest.mark.parametrize(("frozen", "other"), [("a", "b"), ("b", "a")])
def test_a_frozen_factor_does_not_train_after_the_first_task(benchmark, frozen, other):
    strategy, starts, ends = watched(benchmark, 3, frozen=frozen, merged=other, weight_decay=0.1)
    for task, (start, end) in enumerate(zip(starts, ends)):
        for name in start:
            moved = not torch.equal(getattr(start[name], frozen), getattr(end[name], frozen))
            assert moved is (task == 0)
            assert not torch.equal(getattr(start[name], other), getattr(end[name], other))
    size = 3 * 4 * {"b": 144, "a": 48}[other]
    assert strategy.n_trainable == size + 2 * 48 + 2


def test_each_slot_starts_from_its_own_rows(benchmark):
    strategy, starts, ends = watched(benchmark, 2, slots=("q", "v"))
    for name, pair in starts[1].items():
        for rows in (slice(0, 4), slice(4, 8)):
            torch.testing.assert_close(pair.a[rows], orthonormal_rows(ends[0][name].a[rows]))
    assert all((pair.b[48:96] == 0).all() for pair in strategy.inference_update().values())


def test_evaluation_within_a_task_sees_it_merged_as_if_it_had_ended(benchmark):
    seen = []
    strategy, _, _ = watched(benchmark, 2)
    strategy.probe = lambda s: seen.append(s.inference_update())
    strategy.train(benchmark.train_stream[2], eval_streams=[])
    for name, pair in strategy.inference_update().items():
        assert torch.equal(pair.a, seen[0][name].a) and torch.equal(pair.b, seen[0][name].b)


def test_the_state_is_of_constant_size(long_benchmark, tiny_model):
    strategy = SLAOStrategy(
        model=tiny_model(long_benchmark.n_classes), rank=4, steps=1, train_mb_size=4, evaluator=None
    )
    for experience in long_benchmark.train_stream:
        strategy.train(experience)
        sizes = [pair.a.numel() + pair.b.numel() for pair in strategy.memory["last"].values()]
        sizes += [b["b"].numel() for b in strategy.memory["merged"].values()]
        assert sum(sizes) == 3 * 4 * (48 + 144 + 144) >= count_stored(strategy.memory)
        assert strategy.adapters.n_terms == 0
    assert logits(strategy).isfinite().all()


def test_reload_gives_the_same_predictions_and_goes_on_alike(benchmark, tmp_path):
    strategy, _, _ = watched(benchmark, 2)
    save_tree(tmp_path, strategy.state_tree())
    again = make("slao")
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert torch.equal(logits(again), logits(strategy))
    assert not differing(state_of(again.model), state_of(strategy.model))


def test_two_experiences_beat_chance(benchmark):
    strategy = make("slao", {"steps": 30, "batch_size": 24})
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(benchmark.test_stream[:2]))
    assert sum(row.accuracy) / 2 > 0.4  # of four classes


def test_the_classic_benchmark_with_triples():
    data, strategy = classic(), make("slao", {"precision": "bf16"})
    for experience in data.train_stream:
        strategy.train(experience)
        strategy.eval(data.test_stream)
    assert (logits(strategy) > -1e3).sum(1).tolist() == [4] * 8


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"merge_weight": "cubic"}, UnknownNameError, "must be one of inverse, sqrt or a number"),
        ({"merge_weight": 0.0}, OptionError, "merge_weight must be above 0 and at most 1"),
        ({"init": "first"}, UnknownNameError, "init must be one of last, merged, random"),
        ({"merged": "c"}, UnknownNameError, "merged must be one of a, b, both"),
        ({"frozen": "both"}, UnknownNameError, "frozen must be one of a, b"),
        ({"frozen": "b", "init": "random"}, OptionError, "frozen must be a or none with init"),
        ({"frozen": "a", "merged": "a"}, OptionError, "merged must be b or both with frozen a"),
        ({"frozen": "b"}, OptionError, "merged must be a or both with frozen b"),
        ({"orthonormal": False, "init": "random"}, OptionError, "orthonormal must be true with"),
        ({"rank": 49}, OptionError, "rank must be between 1 and 48"),
    ],
)
def test_wrong_options_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        make("slao", options)
