"""Feeding a readout: with features of the merged model, once per image, without side effects."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from avalanche.training.supervised import Naive
from toys import Watch, differing, ham, make, silent, state_of

from avalanche_ham import (
    AdapterGroupingPlugin,
    AlphaBalancingPlugin,
    FinalMergingPlugin,
    ScopedCrossEntropy,
    create_model,
)
from avalanche_ham.errors import HamError
from avalanche_ham.heads import create_readout
from avalanche_ham.merging import Ties
from avalanche_ham.plugins import readout as plugin
from avalanche_ham.strategies.ham import merge_groups


def feed_by_hand(readout, strategy, experience, update) -> None:
    """Feed an experience's images as the backbone with this weight update encodes them."""
    images, targets = zip(*experience.dataset, strict=True)
    strategy.model.eval()
    with torch.no_grad(), strategy.adapters.merged(update) if update else nullcontext():
        readout.feed(strategy.model.encode(torch.stack(images)).features, torch.tensor(targets))


def fed_by_hand(strategy, benchmark, name: str, tasks):
    """A readout fed with each task's images under the weights that evaluation uses now."""
    readout = create_readout(name, 48, 10)
    for task in tasks:
        feed_by_hand(readout, strategy, benchmark.train_stream[task], strategy.inference_update())
    return readout


def newest_adapter(strategy):
    """The last task's own adapter, before any merge."""
    return list(strategy.memory["adapters"])[-1] if "adapters" in strategy.memory else None


@pytest.mark.parametrize("name", ["ncm", "ridge"])
@pytest.mark.parametrize("method", ["linear", "ties", "ncm"])  # the first two close theirs
def test_it_is_fed_with_the_merged_model_s_features_of_the_task(benchmark, name, method):
    strategy = make(method, head=name)
    queries = torch.randn(5, 48, generator=torch.Generator().manual_seed(0))
    expected, newest = create_readout(name, 48, 10), create_readout(name, 48, 10)
    for experience in benchmark.train_stream[:2]:  # of one adapter a linear merge is that adapter
        strategy.train(experience, eval_streams=[])
        feed_by_hand(expected, strategy, experience, strategy.inference_update())
        feed_by_hand(newest, strategy, experience, newest_adapter(strategy))
    scores = strategy.model.readout(queries)
    torch.testing.assert_close(scores, expected(queries), rtol=1e-3, atol=1e-4)
    same = torch.allclose(scores, newest(queries), rtol=1e-2, atol=1e-3)
    assert same is (method == "ncm")  # nothing to merge


def test_images_are_fed_in_the_order_of_the_experience_batch_by_batch(benchmark):
    strategy, seen = make("linear", head="ncm"), []
    feed = strategy.model.readout.feed
    strategy.model.readout.feed = lambda x, y: (seen.append(y.tolist()), feed(x, y))
    for experience in benchmark.train_stream[:2]:
        seen.clear()
        strategy.train(experience, eval_streams=[])
        targets = [target for _, target in experience.dataset]
        size = strategy.eval_mb_size
        assert seen == [targets[i : i + size] for i in range(0, len(targets), size)]


def test_images_are_fed_as_they_are_without_the_training_s_augmentation(benchmark):
    strategy = ham(create_model("tiny", n_classes=10, head="ncm"), augment=lambda x: 255 - x)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    expected = fed_by_hand(strategy, benchmark, "ncm", [0])
    torch.testing.assert_close(strategy.model.readout.sums, expected.sums, rtol=1e-4, atol=1e-3)
    assert float(strategy.model.readout.counts.sum()) == 24


def test_over_tasks_it_knows_all_classes_and_old_images_are_not_needed(benchmark):
    strategy = make("ncm", head="ncm")
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
    expected = fed_by_hand(strategy, benchmark, "ncm", [0, 1, 2])
    assert torch.equal(strategy.model.readout.counts, expected.counts)
    torch.testing.assert_close(strategy.model.readout.sums, expected.sums, rtol=1e-4, atol=1e-3)


def test_it_is_fed_after_the_method_s_work_on_a_task_and_before_the_user_s_plugins(benchmark):
    """HAM groups and prunes first: what is fed is what evaluation will see."""
    seen = []
    watch = Watch(after_training_exp=lambda s: seen.append(s.model.readout.sums.clone()))
    strategy = ham(create_model("tiny", n_classes=10, head="ncm"), keep=0.1, plugins=[watch])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    expected = fed_by_hand(strategy, benchmark, "ncm", [0])
    torch.testing.assert_close(seen[0], expected.sums, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        strategy.adapters.layers["blocks.2.attn.qkv"].terms.stack.mul_(10)  # as if not pruned
    other = fed_by_hand(strategy, benchmark, "ncm", [0])
    assert not torch.allclose(seen[0], other.sums, rtol=1e-4, atol=1e-3)


def test_its_seconds_are_those_of_the_latest_experience_alone(benchmark, monkeypatch):
    readings, told = iter([5.0, 7.25, 30.0, 30.5]), []
    monkeypatch.setattr(plugin, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    strategy = make("linear", head="ncm")
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
        told.append(strategy.readouts.seconds)
    assert told == [2.25, 0.5]


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_a_readout_changes_nothing_that_is_trained(benchmark, name):
    states = []
    for head in ("linear", name):
        strategy = make("ham", head=head)
        for experience in benchmark.train_stream[:2]:
            strategy.train(experience, eval_streams=[])
            assert all(layer.merged is None for layer in strategy.adapters.layers.values())
        states.append(state_of(strategy.model))
    assert {n for n in differing(*states) if "readout" not in n} == set()


def test_without_a_merging_of_its_own_it_takes_the_strategy_s(benchmark):
    sums = []
    for given in (True, False):
        torch.manual_seed(0)
        model = create_model("tiny", n_classes=10, head="ncm")
        adapters = model.attach_adapters()
        grouping = AdapterGroupingPlugin(adapters)
        update = partial(merge_groups, adapters, grouping, merge_rule=Ties())
        merging = FinalMergingPlugin(adapters, update=update)
        readout = plugin.ReadoutPlugin(merging if given else None)
        strategy = Naive(
            model=model,
            optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2),
            criterion=ScopedCrossEntropy(model.head),
            train_mb_size=8,
            plugins=[AlphaBalancingPlugin(adapters, rank=4), grouping, merging, readout],
            evaluator=silent(),
        )
        strategy.train(benchmark.train_stream[0])
        assert readout.merging is merging
        sums.append(model.readout.sums)
    assert torch.equal(*sums)


def test_a_model_without_readouts_of_its_own_kind_is_refused_before_it_trains(benchmark):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10))
    before = state_of(network)
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        plugins=[plugin.ReadoutPlugin()],
        evaluator=silent(),
    )
    with pytest.raises(HamError, match="ReadoutPlugin needs a model made by create_model, but got"):
        strategy.train(benchmark.train_stream[0])
    assert not differing(before, state_of(network))


def test_it_can_be_pickled():
    assert pickle.loads(pickle.dumps(plugin.ReadoutPlugin())).merging.update() is None


def test_weights_are_restored_when_feeding_fails(benchmark):
    strategy = make("ham", head="ncm")

    def fail(features, targets):
        raise KeyError

    strategy.model.readout.feed = fail
    with pytest.raises(KeyError):
        strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert all(layer.merged is None for layer in strategy.adapters.layers.values())
    assert strategy.model.training
