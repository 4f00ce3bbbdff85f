"""The plugin of Sec. 3.3: in before an evaluation, out after it."""

from __future__ import annotations

import copy

import pytest
import torch
from reference_adapters import TwoLinears, random_update

from avalanche_ham import AdapterSet, FinalMergingPlugin
from avalanche_ham.errors import HamError


class Strategy:
    """All that the plugin asks of a strategy: the model that its adapters are part of."""

    def __init__(self, *parts: torch.nn.Module) -> None:
        self.model = torch.nn.ModuleList(parts)


@pytest.fixture
def adapters():
    torch.manual_seed(0)
    return AdapterSet(TwoLinears().double(), ("first", "second"))


def test_the_update_is_asked_anew_at_each_evaluation_and_folded(adapters):
    updates = iter([random_update(2, seed=1), random_update(1, seed=2)])
    plugin = FinalMergingPlugin(adapters, update=lambda: next(updates))
    for seed, rank in ((1, 2), (2, 1)):
        plugin.before_eval(Strategy(adapters))
        for name, layer in adapters.layers.items():
            change = random_update(rank, seed=seed)[name]
            torch.testing.assert_close(layer.merged, layer.weight + change.b @ change.a)
        plugin.after_eval(None)
        assert all(layer.merged is None for layer in adapters.layers.values())


def test_without_an_update_the_model_is_evaluated_as_it_is(adapters):
    plugin = FinalMergingPlugin(adapters, update=lambda: None)
    plugin.before_eval(Strategy(adapters))
    assert all(layer.merged is None for layer in adapters.layers.values())
    plugin.after_eval(None)


def test_without_adapters_it_does_nothing():
    plugin = FinalMergingPlugin(None, update=lambda: pytest.fail("asked for an update"))
    plugin.before_eval(Strategy())
    plugin.after_eval(None)
    plugin.before_training(None)


def test_training_leaves_what_a_failed_evaluation_left_behind(adapters):
    plugin = FinalMergingPlugin(adapters, update=lambda: random_update(1, seed=1))
    plugin.before_eval(Strategy(adapters))
    plugin.before_training(None)
    assert all(layer.merged is None for layer in adapters.layers.values())


def test_evaluations_within_an_evaluation_come_back_to_the_outer_weights(adapters):
    updates = iter([random_update(2, seed=1), random_update(1, seed=2)])
    plugin = FinalMergingPlugin(adapters, update=lambda: next(updates))
    plugin.before_eval(Strategy(adapters))
    outer = {name: layer.merged for name, layer in adapters.layers.items()}
    plugin.before_eval(Strategy(adapters))
    assert plugin.depth == 2
    plugin.after_eval(None)
    assert all(layer.merged is outer[name] for name, layer in adapters.layers.items())
    plugin.after_eval(None)
    assert all(layer.merged is None for layer in adapters.layers.values())


def test_adapters_of_a_model_that_was_replaced_are_refused_before_an_evaluation(adapters):
    plugin = FinalMergingPlugin(adapters, update=lambda: None)
    with pytest.raises(HamError, match="not part of the strategy's model; was it replaced"):
        plugin.before_eval(Strategy(copy.deepcopy(adapters)))
    assert not plugin.depth
