"""Rates and schedulers after an interruption and after loading; plugins that are not saved."""

from __future__ import annotations

import warnings

import pytest
import torch
from avalanche.training.plugins import LRSchedulerPlugin, ReplayPlugin
from torch.optim import lr_scheduler as lrs
from toys import Watch, differing, ham, state_of

from avalanche_ham.runs.saving import load_tree, save_tree

SCHEDULERS = {
    "step": lambda o: lrs.StepLR(o, 1, 0.5),
    "milestones": lambda o: lrs.MultiStepLR(o, [1, 3], 0.5),
    "lambda": lambda o: lrs.LambdaLR(o, lambda epoch: 0.5**epoch),
    "one cycle": lambda o: lrs.OneCycleLR(o, 0.1, total_steps=40),
    "restarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, 3),
    "sequence": lambda o: lrs.SequentialLR(
        o, [lrs.ConstantLR(o, 0.5, 2), lrs.MultiStepLR(o, [1], 0.1)], [4]
    ),
}


def made(kind: str, *plugins, reset: bool = False):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    scheduler = SCHEDULERS[kind](optimizer)
    mine = LRSchedulerPlugin(scheduler, reset_lr=reset, reset_scheduler=reset)
    return ham(optimizer=optimizer, steps=None, train_epochs=3, plugins=[mine, *plugins])


def stop_in(task: int) -> Watch:
    """A plugin that interrupts a task once, in its last epoch."""
    left = [task]

    def stop(strategy):
        if strategy.task in left and strategy.clock.train_exp_epochs == 2:
            left.remove(strategy.task)
            raise KeyboardInterrupt

    return Watch(after_training_epoch=stop)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("kind", SCHEDULERS)
def test_an_interrupted_task_leaves_rates_and_schedulers_as_they_were(benchmark, kind, reset):
    whole, broken = made(kind, reset=reset), made(kind, stop_in(1), reset=reset)
    first, second = benchmark.train_stream[:2]
    for strategy in (whole, broken):
        strategy.train(first, eval_streams=[])
    before = broken.optimizer.param_groups[0] | {"params": []}
    with pytest.raises(KeyboardInterrupt):
        broken.train(second, eval_streams=[])
    assert broken.optimizer.param_groups[0] | {"params": []} == before
    for strategy in (whole, broken):
        strategy.train(second, eval_streams=[])
    assert not differing(state_of(whole.model), state_of(broken.model))


def test_a_rate_that_another_plugin_has_set_goes_back_too(benchmark):
    def halve(strategy):
        strategy.optimizer.param_groups[0]["lr"] /= 2

    strategy = ham(steps=None, train_epochs=3, plugins=[Watch(before_training_epoch=halve)])
    strategy.plugins.append(stop_in(0))
    with pytest.raises(KeyboardInterrupt):
        strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert strategy.optimizer.param_groups[0]["lr"] == 1e-2


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_scheduler_goes_on_where_it_was_saved(benchmark, kind, tmp_path):
    strategy, again = made(kind), made(kind)
    first, second = benchmark.train_stream[:2]
    strategy.train(first, eval_streams=[])
    save_tree(tmp_path, strategy.state_tree())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.load_state_tree(load_tree(tmp_path))
    for one in (strategy, again):
        one.train(second, eval_streams=[])
    assert strategy.optimizer.param_groups[0]["lr"] == again.optimizer.param_groups[0]["lr"]
    assert not differing(state_of(strategy.model), state_of(again.model))


def test_loading_tells_once_of_a_plugin_whose_state_is_not_saved(benchmark):
    def replaying():
        return ham(scope="seen", plugins=[ReplayPlugin(12)])

    strategy, again = replaying(), replaying()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.load_state_tree(strategy.state_tree())  # nothing is lost yet
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    with pytest.warns(UserWarning, match="^ReplayPlugin goes on as it is") as told:
        again.load_state_tree(strategy.state_tree())
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.load_state_tree(strategy.state_tree())


def test_the_rate_of_a_new_strategy_holds_where_there_is_no_scheduler(benchmark):
    strategy, again = ham(lr=1e-2), ham(lr=1e-3)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    again.load_state_tree(strategy.state_tree())
    assert again.optimizer.param_groups[0]["lr"] == 1e-3
