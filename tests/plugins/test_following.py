"""Readouts that follow the drift: one pass before a task, under the weights of before."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from avalanche.training.supervised import Naive
from sampling import some_of
from toys import Watch, differing, ham, make, silent, state_of

from avalanche_ham import (
    AdapterGroupingPlugin,
    AlphaBalancingPlugin,
    FinalMergingPlugin,
    ReadoutPlugin,
    create_model,
)
from avalanche_ham.errors import UnknownNameError
from avalanche_ham.heads import create_readout
from avalanche_ham.plugins import readout as plugin
from avalanche_ham.strategies.ham import merge_groups
from avalanche_ham.strategies.registry import METHODS

FOLLOWING = ("lda_drift", "ncm_drift", "lda_shift", "lda_sdc")
TRAINED = [name for name, row in METHODS.items() if row.head is None and name != "joint"]


@torch.no_grad()
def features_of(strategy, experience) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of an experience's images under the weights that evaluation uses now."""
    images, targets = zip(*experience.dataset, strict=True)
    strategy.model.eval()
    merging = next((p for p in strategy.plugins if isinstance(p, FinalMergingPlugin)), None)
    update = None if merging is None else merging.update()
    if strategy.model.adapters is None:
        features = strategy.model.encode(torch.stack(images)).features
    else:
        with strategy.model.adapters.merged(update):
            features = strategy.model.encode(torch.stack(images)).features
    return features, torch.tensor(targets)


def trained_beside_a_hand(strategy, experiences):
    """Train, and do with readouts of one's own what the plugin is to do with the model's."""
    mine = {name: create_readout(name, 48, 10) for name in strategy.model.readouts}
    moved = 0.0
    for experience in experiences:
        before, _ = features_of(strategy, experience)
        strategy.train(experience, eval_streams=[])
        after, targets = features_of(strategy, experience)
        for readout in mine.values():
            if readout.is_fed:
                moved = max(moved, float((after - before).abs().max()))
                readout.follow(before, after)
            readout.update(after, targets)
    return mine, moved


def assert_alike(readouts, mine):
    for name, readout in readouts.items():
        expected = mine[name].state_dict()
        for key, tensor in readout.state_dict().items():
            torch.testing.assert_close(tensor, expected[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", some_of(TRAINED, "ham", "linear", "finetune", "l2p", "sema"))
def test_every_method_s_old_classes_move_from_its_evaluation_before_to_that_after(
    benchmark, method
):
    strategy = make(method, head=",".join(FOLLOWING))
    mine, moved = trained_beside_a_hand(strategy, benchmark.train_stream[:3])
    assert_alike(strategy.model.readouts, mine)
    assert moved > 1e-3 or method in ("frozen", "fsa")  # whose features stay


def test_it_works_with_plain_naive_that_trains_the_whole_network(benchmark):
    model = create_model("tiny", n_classes=10, head="lda_drift,ncm_drift")
    model.requires_grad_(True)
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=8,
        plugins=[ReadoutPlugin()],
        evaluator=silent(),
    )
    mine, moved = trained_beside_a_hand(strategy, benchmark.train_stream[:3])
    assert_alike(model.readouts, mine)
    assert moved > 1e-2
    strategy.eval(benchmark.test_stream[:3])


def test_it_works_with_naive_and_ham_s_plugins_a_stream_at_a_time(benchmark):
    def parts():
        model = create_model("tiny", n_classes=10, head="lda_drift")
        adapters = model.attach_adapters()
        grouping = AdapterGroupingPlugin(adapters, damping="sqrt")
        merging = FinalMergingPlugin(adapters, update=partial(merge_groups, adapters, grouping))
        plugins = [AlphaBalancingPlugin(adapters, rank=4), grouping, merging]
        torch.manual_seed(0)
        return Naive(
            model=model,
            optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2),
            criterion=torch.nn.CrossEntropyLoss(),
            train_mb_size=8,
            plugins=[*plugins, ReadoutPlugin(merging)],
            evaluator=silent(),
        )

    strategy, streamed = parts(), parts()
    torch.manual_seed(5)
    mine, moved = trained_beside_a_hand(strategy, benchmark.train_stream[:3])
    assert_alike(strategy.model.readouts, mine)
    assert moved > 1e-2
    torch.manual_seed(5)
    streamed.train(benchmark.train_stream[:3], eval_streams=[])
    assert not differing(state_of(strategy.model), state_of(streamed.model))


def test_the_first_task_and_heads_that_do_not_follow_take_no_pass(benchmark):
    seen = []
    for head in ("lda_drift", "lda"):
        model = create_model("tiny", n_classes=10, head=head)
        strategy = ham(model, eval_mb_size=64)
        for experience in benchmark.train_stream[:2]:
            begun = Watch(before_training_exp=lambda s: seen.append(dict(s.readouts._before)))
            strategy.plugins[-1:] = [strategy.plugins[-1], begun]
            strategy.train(experience, eval_streams=[])
            strategy.plugins.pop()
            assert not strategy.readouts._before
    shapes = [{view: tuple(f.shape) for view, f in found.items()} for found in seen]
    assert shapes == [{}, {"none": (24, 48)}, {}, {}]


@pytest.mark.parametrize(("method", "looks"), [("frozen", 0), ("ncm", 0), ("lora", 2), ("fsa", 0)])
def test_features_that_stay_are_not_looked_at(method, looks, benchmark):
    seen = []
    begun = Watch(before_training_exp=lambda s: seen.append(bool(s.readouts._before)))
    strategy = make(method, head="lda_drift,linear", plugins=[begun])
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
    assert sum(seen) == looks


def test_it_looks_ahead_of_new_parameters_and_draws_no_random_number(benchmark):
    """An adapter more would change the mean of adapters; training is the same to the bit."""
    states = []
    for head in ("linear", "linear,lda_drift"):
        strategy = make("linear", head=head, options={"augment": "flip"})
        for experience in benchmark.train_stream[:3]:
            strategy.train(experience, eval_streams=[])
        states.append(state_of(strategy.model))
    assert {n for n in differing(*states) if "readout" not in n} == set()


def test_what_an_interrupted_task_has_left_is_forgotten(benchmark):
    def stop(strategy):
        if strategy.task == 1 and strategy.step == 2 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt

    stopped: list[bool] = []
    first, second, third = benchmark.train_stream[:3]
    broken = make("ham", head="lda_drift", plugins=[Watch(after_update=stop)])
    broken.train(first, eval_streams=[])
    with pytest.raises(KeyboardInterrupt):
        broken.train(second, eval_streams=[])
    assert broken.readouts._before
    broken.train(third, eval_streams=[])  # another task than the one that was looked at
    whole = make("ham", head="lda_drift")
    for experience in (first, third):
        whole.train(experience, eval_streams=[])
    assert not differing(state_of(whole.model), state_of(broken.model))


def test_its_seconds_are_told_apart_from_those_of_feeding(benchmark, monkeypatch):
    readings = [1.0, 3.5]  # the first task: feeding
    readings += [10.0, 14.0, 20.0, 21.0, 21.5, 28.0]  # looking; feeding, within it following
    told, clock = [], SimpleNamespace(perf_counter=iter(readings).__next__)
    monkeypatch.setattr(plugin, "time", clock)
    strategy = make("ham", head="ncm,lda_drift")
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
        told.append((strategy.readouts.seconds, strategy.readouts.drift_seconds))
    assert told == [(2.5, 0.0), (7.5, 4.5)]


def test_weights_are_restored_when_looking_fails(benchmark, monkeypatch):
    strategy = make("ham", head="lda_drift")
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    before = state_of(strategy.model)

    def fail(images):
        raise KeyError

    with monkeypatch.context() as patched:
        patched.setattr(strategy.model, "encode", fail)
        with pytest.raises(KeyError):
            strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert all(layer.merged is None for layer in strategy.adapters.layers.values())
    assert strategy.model.training and not differing(before, state_of(strategy.model))


def test_in_bf16_statistics_stay_finite_and_in_single_precision(benchmark):
    strategy = make("ham", {"precision": "bf16"}, head="lda_drift")
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
    readout = strategy.model.readout
    assert readout.means.dtype == readout.scatter.dtype == torch.float32
    assert all(math.isfinite(float(t.sum())) for t in readout.state_dict().values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_pass_made_ahead_takes_the_place_of_looking(precision, benchmark, monkeypatch):
    strategy, other = (
        make("ham", {"precision": precision}, head="lda_drift,linear") for _ in range(2)
    )
    encoded = {id(strategy): 0, id(other): 0}
    original = plugin.ReadoutPlugin._encoded

    def counted(self, strategy, experience):
        encoded[id(strategy)] += 1
        return original(self, strategy, experience)

    monkeypatch.setattr(plugin.ReadoutPlugin, "_encoded", counted)
    for t, experience in enumerate(benchmark.train_stream[:3]):
        with strategy.evaluation_weights():
            features, targets = strategy.readouts.look_ahead(strategy, experience)
        assert features.shape == (24, 48) and targets.shape == (24,)
        for one in (strategy, other):
            one.train(experience, eval_streams=[])
        ahead, all_of_it = strategy.readouts.ahead_seconds, strategy.readouts.drift_seconds
        assert 0 < ahead < all_of_it if t else ahead == all_of_it == 0
        assert other.readouts.ahead_seconds == 0
    assert not differing(state_of(strategy.model), state_of(other.model))
    assert encoded == {id(strategy): 3 + 3, id(other): 2 + 3}  # one ahead of the first is idle


def test_a_pass_ahead_of_another_experience_is_not_used(benchmark):
    strategy, other = (make("ham", head="lda_drift") for _ in range(2))
    for one in (strategy, other):
        one.train(benchmark.train_stream[0], eval_streams=[])
    strategy.readouts.look_ahead(strategy, benchmark.train_stream[2])
    for one in (strategy, other):
        one.train(benchmark.train_stream[1], eval_streams=[])
    assert not differing(state_of(strategy.model), state_of(other.model))
    assert strategy.readouts._ahead is None


TURNS = (
    lambda x: x,
    lambda x: x.transpose(2, 3).flip(2),
    lambda x: x.flip(2, 3),
    lambda x: x[:, [2, 0, 1]],
)


@pytest.mark.parametrize("head", ["lda_drift", "ncm_drift"])
def test_a_readout_follows_the_copies_that_it_asks_for_and_no_random_number_is_drawn(
    benchmark, head
):
    def trained(views: str):
        model = create_model("tiny", n_classes=10, head=head, readouts={head: {"views": views}})
        strategy, mine = ham(model), create_readout(head, 48, 10)

        def seen(experience) -> torch.Tensor:
            images = torch.stack([image for image, *_ in experience.dataset.eval()])
            shown = TURNS if views == "turned" else TURNS[:1]
            model.eval()
            with torch.no_grad(), strategy.evaluation_weights():
                return torch.cat([model.encode(turn(images)).features for turn in shown])

        torch.manual_seed(0)
        for experience in benchmark.train_stream[:3]:
            before = seen(experience)
            strategy.train(experience, eval_streams=[])
            after, targets = seen(experience), torch.tensor(list(experience.dataset.targets))
            if mine.is_fed:
                mine.follow(before, after)
            mine.update(after[: len(targets)], targets)
        assert_alike(model.readouts, {head: mine})
        return model.readouts.pop(head), state_of(model)

    (turned, ours), (plain, theirs) = map(trained, ("turned", "none"))
    assert not differing(ours, theirs)
    probe = torch.randn(20, 48, generator=torch.Generator().manual_seed(0))
    assert (turned(probe) - plain(probe)).abs().max() > 1e-3


def test_unknown_copies_are_refused_by_name():
    with pytest.raises(UnknownNameError, match="views.*none, turned"):
        create_readout("lda_drift", 4, 3, views="tilted")
