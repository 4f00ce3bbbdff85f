"""SEMA as a strategy: when it expands, what trains in which phase, what stays, growth, state."""

from __future__ import annotations

import itertools

import pytest
import torch
from sampling import some_of
from streams import classic, logits

from avalanche_ham.benchmarks.class_incremental import class_incremental
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.sema.strategy import SEMAStrategy

SURE = {"threshold": 0.0, "detect_batch_size": 8}  # expands wherever it may


@pytest.fixture
def make(tiny_model):
    """A factory of quiet strategies."""

    def make_strategy(*, n_classes: int = 10, **options):
        given = {"evaluator": None, "steps": 2, "train_mb_size": 8, **options}
        return SEMAStrategy(model=tiny_model(n_classes), **given)

    return make_strategy


def shifted(by: int):
    """Two tasks of the same noise, the second one brighter by so much."""

    def images(per_class: int) -> ImageSet:
        generator = torch.Generator().manual_seed(per_class)
        shape = (4 * per_class, 3, 8, 8)
        pixels = torch.randint(60, 120, shape, generator=generator)
        targets = torch.arange(4).repeat_interleave(per_class)
        pixels[torch.isin(targets, torch.tensor(late))] += by
        pixels = pixels.to(torch.uint8)
        return ImageSet(pixels, targets=targets.tolist(), classes=list("abcd"))

    late: list[int] = []
    order = class_incremental(images(1), images(1), n_tasks=2, seed=1, name="order")
    late.extend(order.tasks[1])
    return class_incremental(images(24), images(4), n_tasks=2, seed=1, name="shifted")


def adapters(strategy) -> dict[str, torch.Tensor]:
    """Copies of everything beside the MLPs."""
    state = strategy.encoder.blocks.state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_two_experiences_beat_chance(precision, make, benchmark, same_draws):
    budget = {"steps": 30, "descriptor_steps": 2, "train_mb_size": 24}
    strategy = make(lr=1e-2, precision=precision, seed=4, **budget)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    row = accuracy_row(strategy, list(benchmark.test_stream[:2]))
    assert sum(row.accuracy) / 2 > 0.5  # of four classes


@pytest.mark.parametrize("recompute", some_of([False, True], False))
@pytest.mark.parametrize("by, expected", [(0, 1), (120, 2)])
def test_it_expands_on_a_shifted_distribution_only(by, expected, recompute, make):
    strategy = make(
        n_classes=4,
        lr=5e-3,
        train_mb_size=16,
        descriptor_steps=40,
        descriptor_width=16,
        detect_batch_size=48,
        recompute_statistics=recompute,
    )
    for experience in shifted(by).train_stream:
        strategy.train(experience)
    told = strategy.describe()
    assert set(told["adapters"].values()) == {expected}
    assert (told["surprises"][0] > strategy.threshold) == (expected == 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "options", "expected"),
    [(0, {}, 1), (12, {}, 2), (12, {"recompute_statistics": False}, 1)],
)
def test_by_default_a_small_shift_expands_and_none_does_not(by, options, expected, make):
    """Statistics of a descriptor that still learns are too wide for a small shift."""
    strategy = make(
        n_classes=4,
        lr=4e-5,
        train_mb_size=16,
        descriptor_steps=40,
        descriptor_width=16,
        detect_batch_size=48,
        **options,
    )
    for experience in shifted(by).train_stream:
        strategy.train(experience)
    assert set(strategy.describe()["adapters"].values()) == {expected}


def test_the_threshold_is_exactly_where_it_is_set(make, benchmark):
    def trained(threshold: float):
        strategy = make(descriptor_steps=2, threshold=threshold)
        for experience in benchmark.train_stream[:2]:
            strategy.train(experience)
        return strategy

    (largest,) = trained(1e9).memory["surprises"]
    assert largest > 0.1
    one, two = trained(largest), trained(largest - 0.01)
    assert set(one.describe()["adapters"].values()) == {1}
    assert 2 in two.describe()["adapters"].values()


@pytest.mark.parametrize("surprise, adapters", [(2.0, 1), (2.01, 2)])
def test_unless_set_the_threshold_is_the_paper_s(surprise, adapters, make, benchmark):
    strategy = make(descriptor_steps=2)
    strategy.train(benchmark.train_stream[0])
    blocks = enumerate(strategy.encoder.blocks)
    told = {index: surprise for index, block in blocks if block.expandable}
    strategy.encoder.surprises = lambda images: told
    strategy.train(benchmark.train_stream[1])
    assert {strategy.describe()["adapters"][str(index)] for index in told} == {adapters}


def test_at_most_one_adapter_per_block_and_task(make, benchmark):
    strategy = make(expandable=2, **SURE)
    for task, experience in enumerate(benchmark.train_stream[:3]):
        strategy.train(experience)
        counts = strategy.describe()["adapters"]
        assert counts == {"0": 1, "1": task + 1, "2": task + 1}
    assert strategy.memory["added"] == {"0": [0], "1": [0, 1, 2], "2": [0, 1, 2]}


def test_phases_come_in_order_and_within_their_budgets(make, benchmark):
    strategy, steps = make(expandable=2, descriptor_steps=3, **SURE), []

    class Count:
        def after_training_iteration(self, strategy, **kwargs):
            steps.append((strategy.phase.name, strategy.encoder.n_adapters))

    strategy.plugins.append(Count())
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    once = [("functional", 3)] * 2 + [("descriptors", 3)] * 3
    later = [
        (name, count)
        for count in (4, 5)
        for name, n in (("functional", 2), ("descriptors", 3))
        for _ in range(n)
    ]
    assert steps == once + later


def test_old_adapters_stay_as_they_are_to_the_last_bit(make, benchmark):
    strategy = make(lr=1e-2, weight_decay=0.1, **SURE)
    vit = {n: t.clone() for n, t in strategy.encoder.vit.state_dict().items()}
    strategy.train(benchmark.train_stream[0])
    old, rows = adapters(strategy), strategy.model.head.weights[0].clone()
    strategy.train(benchmark.train_stream[1])
    now = adapters(strategy)
    assert len(now) == 2 * len(old)
    for name, tensor in old.items():
        assert torch.equal(now[name], tensor), name
    assert torch.equal(strategy.model.head.weights[0], rows)
    for name, tensor in strategy.encoder.vit.state_dict().items():
        assert torch.equal(tensor, vit[name])
    assert not any(p.requires_grad for p in strategy.encoder.parameters())


def test_every_new_part_trains(make, benchmark):
    strategy, starts = make(lr=1e-2, steps=4, **SURE), {}
    grow = strategy.encoder.grow

    def remember(index):
        grow(index)
        block = strategy.encoder.blocks[index]
        for part in (block.adapters[-1], block.descriptors[-1], block.router[-1]):
            starts.update((p, p.detach().clone()) for p in part.parameters())

    strategy.train(benchmark.train_stream[0])
    strategy.encoder.grow = remember
    strategy.train(benchmark.train_stream[1])
    assert len(starts) == 3 * (4 + 4 + 2)
    for parameter, start in starts.items():
        assert not torch.equal(parameter, start)
    sizes = sum(p.numel() for p in starts)
    assert strategy.n_trainable == sizes + 2 * 48 + 2  # and the classifier's new rows


def test_without_an_expansion_the_classifier_trains_alone(make, benchmark):
    strategy = make(threshold=1e9)
    strategy.train(benchmark.train_stream[0])
    before = adapters(strategy)
    strategy.train(benchmark.train_stream[1])
    assert all(torch.equal(t, before[n]) for n, t in adapters(strategy).items())
    assert strategy.n_trainable == 2 * 48 + 2
    assert strategy.phase.name == "functional"


def test_reload_gives_the_same_predictions_and_goes_on_alike(make, benchmark, tmp_path):
    strategy = make(seed=4, **SURE)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    save_tree(tmp_path, strategy.state_tree())
    again = make(seed=4, **SURE)
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2])
    assert torch.equal(logits(again), logits(strategy))
    assert again.describe() == strategy.describe()


def test_evaluation_changes_nothing(make, benchmark):
    strategy = make(**SURE)
    strategy.train(benchmark.train_stream[0])
    before, state = logits(strategy), torch.get_rng_state()
    strategy.eval(benchmark.test_stream[:2])
    assert torch.equal(logits(strategy), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_classic_benchmark_with_triples(make):
    data = classic()
    strategy = make(n_classes=4, **SURE)
    for experience in data.train_stream:
        strategy.train(experience)
        strategy.eval(data.test_stream)
    assert (logits(strategy) > -1e3).all()  # every class was seen


def test_many_tasks_without_expansions_keep_their_size(make, long_benchmark):
    n_classes = long_benchmark.n_classes
    strategy = make(n_classes=n_classes, steps=1, train_mb_size=4, threshold=1e9)
    sizes = set()
    for experience in long_benchmark.train_stream:
        strategy.train(experience)
        sizes.add(count_stored(adapters(strategy)))
    assert len(sizes) == 1
    assert logits(strategy).isfinite().all()


def test_many_tasks_with_expansions_grow_linearly(make, long_benchmark):
    options = {"expandable": 1, "descriptor_width": 8, "hidden": 4, **SURE}
    stream, sizes = long_benchmark.train_stream, []
    strategy = make(n_classes=long_benchmark.n_classes, steps=1, train_mb_size=4, **options)
    for experience in stream:
        strategy.train(experience)
        sizes.append(sum(p.numel() for p in strategy.encoder.blocks.parameters()))
    adapter, descriptor = 2 * 48 * 4 + 4 + 48, 2 * 48 * 8 + 8 + 48
    grown = {b - a for a, b in itertools.pairwise(sizes)}
    assert grown == {adapter + descriptor + 48 + 1}  # and a router row
    assert strategy.describe()["adapters"] == {"0": 1, "1": 1, "2": len(stream)}
    assert logits(strategy).isfinite().all()


def test_wrong_options_are_errors(make):
    with pytest.raises(OptionError, match="threshold must be at least 0"):
        make(threshold=-1.0)
    with pytest.raises(OptionError, match="descriptor_steps must be above 0"):
        make(descriptor_steps=0)
    with pytest.raises(HamError, match="ExpandingEncoder"):
        SEMAStrategy(model=make().model)


def test_stopping_early_in_the_functional_phase_still_trains_the_descriptors(make, benchmark):
    strategy, phases = make(expandable=2), []

    class StopAtOnce:
        def after_training_iteration(self, strategy, **kwargs):
            phases.append(strategy.phase.name)
            if strategy.phase.name == "functional":
                strategy.stop_training()

    strategy.plugins.append(StopAtOnce())
    strategy.train(benchmark.train_stream[0])
    assert phases[0] == "functional" and "descriptors" in phases
