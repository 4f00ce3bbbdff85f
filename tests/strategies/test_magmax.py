"""MagMax: one LoRA trained on and on, and the running maximum of its checkpoints."""

from __future__ import annotations

import pytest
import reference
import torch
from streams import classic, logits
from toys import differing, make, state_of

from avalanche_ham.adapters import LowRank
from avalanche_ham.adapters.low_rank import dense
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.magmax import MagMaxStrategy


def watched(benchmark, n_tasks: int = 3, **options):
    """A trained strategy, the factors it began with, and those at the end of each task."""
    checkpoints = []
    strategy = make("magmax", {"lr": 0.05, **options})
    start = strategy.adapters.current()
    strategy.probe = lambda s: checkpoints.append(s.adapters.current())
    for experience in benchmark.train_stream[:n_tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy, start, checkpoints


def maximum(tensors) -> torch.Tensor:
    """The offline maximum over all checkpoints, entry by entry."""
    return reference.magmax(tensors, [1.0] * len(tensors))


def offline(space: str, weight: float, start, checkpoints, name: str) -> torch.Tensor:
    """The merged change of a layer, with all checkpoints at hand."""
    a, b = ([getattr(point[name], f) for point in checkpoints] for f in "ab")
    if space == "delta":
        return weight * maximum([y @ x for x, y in zip(a, b)])
    origin = start[name].a if space == "change" else torch.zeros_like(a[0])
    merged_a = origin + weight * maximum([x - origin for x in a])
    return weight * maximum(b) @ merged_a


@pytest.mark.parametrize("space", ["factors", "change", "delta"])
@pytest.mark.parametrize("weight", [None, 0.3])
def test_the_running_maximum_is_the_offline_one(benchmark, space, weight):
    strategy, start, checkpoints = watched(benchmark, space=space, merge_weight=weight)
    used = weight or {"delta": 0.5}.get(space, 1.0)
    for name, change in strategy.inference_update().items():
        expected = offline(space, used, start, checkpoints, name)
        torch.testing.assert_close(dense(change), expected)
        latest = dense(checkpoints[-1][name])
        assert not torch.allclose(dense(change), latest, atol=1e-4)


def test_training_is_that_of_one_lora_never_restarted(benchmark):
    strategy, _, checkpoints = watched(benchmark)
    plain = make("lora", {"lr": 0.05})
    for experience in benchmark.train_stream[:3]:
        plain.train(experience, eval_streams=[])
    for name, pair in plain.adapters.current().items():
        assert torch.equal(pair.a, checkpoints[-1][name].a)
        assert torch.equal(pair.b, checkpoints[-1][name].b)
    assert strategy.adapters.n_terms == 0 and strategy.n_trainable == plain.n_trainable


def test_with_one_task_the_maximum_is_its_checkpoint(benchmark):
    for space in ("factors", "change"):
        strategy, _, (only,) = watched(benchmark, 1, space=space)
        for name, change in strategy.inference_update().items():
            torch.testing.assert_close(dense(change), dense(only[name]))


def test_a_s_start_takes_part_among_raw_factors_alone(benchmark):
    raw, start, checkpoints = watched(benchmark, space="factors")
    name = "blocks.0.attn.qkv"
    moved = maximum([point[name].a - start[name].a for point in checkpoints])
    assert not torch.allclose(raw.inference_update()[name].a, start[name].a + moved)


def test_nothing_is_changed_before_the_first_task():
    for space in ("factors", "change", "delta"):
        update = make("magmax", {"space": space}).inference_update()
        assert all((dense(change) == 0).all() for change in update.values())


def test_evaluation_within_a_task_sees_it_as_if_it_had_ended(benchmark):
    strategy, _, _ = watched(benchmark, 1)
    seen = []
    strategy.probe = lambda s: seen.append(s.inference_update())
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    for name, pair in strategy.inference_update().items():
        assert torch.equal(pair.b, seen[0][name].b)


@pytest.mark.parametrize("space", ["factors", "change", "delta"])
def test_reload_gives_the_same_predictions_and_goes_on_alike(benchmark, tmp_path, space):
    strategy, _, _ = watched(benchmark, 2, space=space)
    save_tree(tmp_path, strategy.state_tree())
    again = make("magmax", {"lr": 0.05, "space": space}, seed=9)
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    again.seed = strategy.seed
    for one in (strategy, again):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert torch.equal(logits(again), logits(strategy))
    assert not differing(state_of(again.model), state_of(strategy.model))


def test_the_state_is_of_constant_size(long_benchmark, tiny_model):
    n_classes = long_benchmark.n_classes
    given = {"rank": 4, "steps": 1, "train_mb_size": 4, "evaluator": None}
    strategy = MagMaxStrategy(model=tiny_model(n_classes), **given)
    for experience in long_benchmark.train_stream:
        strategy.train(experience)
        assert count_stored(strategy.memory) <= 3 * 4 * (48 + 144)
    assert logits(strategy).isfinite().all()


def test_two_experiences_beat_chance(benchmark):
    strategy = make("magmax", {"steps": 30, "batch_size": 24})
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(benchmark.test_stream[:2]))
    assert sum(row.accuracy) / 2 > 0.4  # of four classes


def test_slots_and_the_classic_benchmark_with_triples():
    data, strategy = classic(), make("magmax", {"slots": "q,v", "precision": "bf16"})
    for experience in data.train_stream:
        strategy.train(experience)
        strategy.eval(data.test_stream)
    assert (logits(strategy) > -1e3).sum(1).tolist() == [4] * 8
    for change in strategy.inference_update().values():
        assert isinstance(change, LowRank) and (change.b[48:96] == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"space": "product"}, UnknownNameError, "space must be one of change, delta, factors"),
        ({"merge_weight": 0.0}, OptionError, "merge_weight must be above 0"),
        ({"rank": 49}, OptionError, "rank must be between 1 and 48"),
    ],
)
def test_wrong_options_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        make("magmax", options)
