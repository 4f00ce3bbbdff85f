"""What the template has to do right for every method: the optimiser, the steps, the hooks."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from avalanche.training.plugins import SupervisedPlugin
from toys import Watch, differing, ham, make, state_of

from avalanche_ham import HAMStrategy
from avalanche_ham.errors import DivergedError, OptionError, UnknownNameError

HOOKS = {n for n in dir(SupervisedPlugin) if n.startswith(("before_", "after_"))}


class Ticks(SupervisedPlugin):
    """Tick a box for every hook that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        for hook in HOOKS:
            setattr(self, hook, lambda strategy, h=hook, **kwargs: self.seen.add(h))


@pytest.mark.parametrize("method", ["ham", "lora", "finetune", "frozen"])
def test_the_optimiser_holds_exactly_what_trains_now(benchmark, method):
    held: list[tuple[set[int], set[int]]] = []

    def look(strategy):
        groups = strategy.optimizer.param_groups
        ids = [id(p) for group in groups for p in group["params"]]
        assert len(ids) == len(set(ids))
        held.append((set(ids), {id(p) for p in strategy.model.parameters() if p.requires_grad}))

    strategy = make(method, plugins=[Watch(before_training_iteration=look)])
    optimizer = strategy.optimizer
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
    assert strategy.optimizer is optimizer
    assert len(held) == 12 and all(ids == expected for ids, expected in held)
    head_only = {id(p) for p in strategy.model.head.newest()}
    assert held[-1][0] >= head_only and (held[-1][0] == head_only) is (method == "frozen")


def test_ham_s_optimiser_holds_the_new_adapter_the_scalars_and_the_newest_rows(benchmark):
    held = []

    def look(strategy):
        ids = {id(p) for group in strategy.optimizer.param_groups for p in group["params"]}
        layers = strategy.adapters.layers.values()
        branches = {id(p) for layer in layers for p in (layer.branch.a, layer.branch.b)}
        rows = {id(strategy.model.head.weights[-1]), id(strategy.model.head.biases[-1])}
        assert ids == branches | rows | {id(strategy.adapters.scales)}
        for group in strategy.optimizer.param_groups:
            mine = {id(p) for p in group["params"]}
            decays = group["weight_decay"] > 0
            assert decays is (mine == branches), "heads and scalars must not decay"
        held.append(branches)

    strategy = ham(weight_decay=0.1, plugins=[Watch(before_update=look)])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert held[0] != held[-1]


@pytest.mark.parametrize("method", ["ham", "lora", "frozen", "linear", "lora_ewc", "lora_lwf"])
def test_frozen_weights_are_bit_identical_after_training_and_new_ones_move(benchmark, method):
    steps: list[dict] = []
    watch = Watch(
        before_training_exp=lambda s: steps.append(state_of(s.model)),
        after_training_epoch=lambda s: steps.append(state_of(s.model)),
    )
    strategy = make(method, plugins=[watch])
    original = state_of(strategy.model)
    for experience in benchmark.train_stream[:3]:
        steps.clear()
        strategy.train(experience, eval_streams=[])
        moved = differing(steps[0], steps[-1])
        trained = {n for n in moved if ".branch." not in n}
        newest = len(strategy.model.head.weights) - 1
        expected = {f"head.tasks.{newest}.weight", f"head.tasks.{newest}.bias"}
        assert trained == expected | ({"adapters.scales"} if method == "ham" else set())
        branches = {n for n in moved if ".branch.b" in n}
        assert len(branches) == (0 if method == "frozen" else 3)
    final = state_of(strategy.model)
    frozen = {n for n in original if n.startswith("encoder.") and ".branch." not in n}
    frozen = {n for n in frozen if ".terms." not in n}
    assert len(frozen) > 30 and not any(not torch.equal(original[n], final[n]) for n in frozen)


def test_a_user_s_own_optimiser_keeps_its_settings_and_loses_its_old_state(benchmark):
    placeholder = torch.nn.Parameter(torch.zeros(1))
    group = {"params": [placeholder], "lr": 0.02, "momentum": 0.9, "weight_decay": 0.3}
    optimizer = torch.optim.SGD([group], lr=1.0)
    starts = []
    watch = Watch(before_training_epoch=lambda s: starts.append(len(s.optimizer.state)))
    strategy = ham(optimizer=optimizer, plugins=[watch], steps=2)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
        assert len(optimizer.state) == 2 * 3 + 1 + 2
        assert {group["lr"] for group in optimizer.param_groups} == {0.02}
        assert [g["weight_decay"] for g in optimizer.param_groups] == [0.3, 0.0, 0.0]
        assert all(g["momentum"] == 0.9 for g in optimizer.param_groups)
    assert starts == [0, 0] and strategy.optimizer is optimizer


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_exactly_so_many_optimiser_steps_are_taken(benchmark, steps):
    updates, epochs = [], []
    watch = Watch(after_update=updates.append, before_training_epoch=epochs.append)
    strategy = ham(steps=steps, plugins=[watch])  # 24 images, 3 batches of 8 an epoch
    for n, experience in enumerate(benchmark.train_stream[:2], 1):
        strategy.train(experience, eval_streams=[])
        assert len(updates) == n * steps
        assert len(epochs) == n * -(-steps // 3)


def test_without_steps_the_epochs_decide(benchmark):
    updates = []
    strategy = ham(steps=None, train_epochs=4, plugins=[Watch(after_update=updates.append)])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert len(updates) == 12


def test_a_plugin_can_stop_the_training_early_and_the_next_experience_trains_again(
    benchmark,
):
    updates = []

    def stop(strategy):
        updates.append(strategy.task)
        if len(updates) == 2:
            strategy.stop_training()

    strategy = ham(steps=7, plugins=[Watch(after_update=stop)])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert updates == [0] * 2 + [1] * 7
    assert strategy.adapters.n_terms == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_task_epoch_and_step(benchmark, bad):
    def poison(strategy):
        if strategy.task == 1 and strategy.step == 4:
            strategy.loss = strategy.loss * bad

    strategy = ham(steps=7, plugins=[Watch(before_backward=poison)])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    before = state_of(strategy.model.head)
    with pytest.raises(DivergedError, match=r"task 2, epoch 2, step 5 .*smaller lr"):
        strategy.train(benchmark.train_stream[1], eval_streams=[])
    after = state_of(strategy.model.head)
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert torch.equal(after["tasks.0.weight"], before["tasks.0.weight"])


def test_every_hook_of_avalanche_reaches_a_user_s_plugin(benchmark):
    ticks = Ticks()
    strategy = ham(plugins=[ticks])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    strategy.eval(benchmark.test_stream[:1])
    assert ticks.seen == HOOKS


@pytest.mark.parametrize("method", ["lora", "linear", "inflora", "ham"])
def test_a_user_s_plugin_finds_the_task_ended_and_a_probe_finds_it_open(benchmark, method):
    seen = []
    watch = Watch(after_training_exp=lambda s: seen.append(len(s.adapters.scales)))
    strategy = make(method, plugins=[watch])
    strategy.probe = lambda s: seen.append(s.adapters.is_open)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert seen == [True, len(strategy.adapters.scales)]
    assert strategy.adapters.is_open is (method == "lora")


def test_the_given_list_of_plugins_is_not_changed():
    plugins = [Ticks()]
    ham(plugins=plugins)
    assert len(plugins) == 1


def test_images_are_augmented_once_in_training_and_never_in_evaluation(benchmark):
    batches = []

    def invert(images):
        batches.append(images.clone())
        return 255 - images

    seen = []
    strategy = ham(
        steps=3,
        augment=invert,
        plugins=[Watch(before_forward=lambda s: seen.append(s.mb_x))],
    )
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert len(batches) == 3
    assert all(torch.equal(255 - x, y) for x, y in zip(batches, seen, strict=True))
    strategy.eval(benchmark.test_stream[:1])
    assert len(batches) == 3


def test_training_follows_from_its_seed_alone_and_leaves_the_user_s_random_state(benchmark):
    results = []
    for seed, noise in ((1, 10), (1, 20), (2, 10)):
        torch.manual_seed(noise)
        random.seed(noise)
        np.random.seed(noise)
        before = (torch.get_rng_state(), random.getstate())
        strategy = ham(seed=seed)
        for experience in benchmark.train_stream[:2]:
            strategy.train(experience, eval_streams=[])
        assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
        results.append(state_of(strategy.model))
    assert not differing(results[0], results[1])
    assert differing(results[0], results[2])


def test_a_whole_stream_trains_like_its_experiences_one_by_one(benchmark):
    one, all_at_once = ham(), ham()
    for experience in benchmark.train_stream[:3]:
        one.train(experience, eval_streams=[])
    all_at_once.train(benchmark.train_stream[:3], eval_streams=[])
    assert not differing(state_of(one.model), state_of(all_at_once.model))


def test_an_unknown_keyword_raises(tiny_model):
    with pytest.raises(TypeError, match="treshold"):
        HAMStrategy(model=tiny_model(), treshold=0.5)


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"lr": 0.0}, OptionError, "lr must be above 0, but got 0.0"),
        ({"weight_decay": -1}, OptionError, "weight_decay must be at least 0"),
        ({"steps": 0}, OptionError, "steps must be at least 1, but got 0"),
        ({"precision": "bf32"}, UnknownNameError, "one of bf16, fp32, but got 'bf32'"),
        ({"scope": "all"}, UnknownNameError, "one of current, seen, seen_frozen, but got"),
    ],
)
def test_options_outside_their_range_are_refused(option, error, message):
    with pytest.raises(error, match=message):
        ham(**option)
