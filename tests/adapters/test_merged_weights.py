"""Merged weights of all adapted layers: entered at once, nested, left as they were."""

from __future__ import annotations

import pytest
import torch
from reference_adapters import TwoLinears, open_random, random_update, two_adapted
from torch import nn

from avalanche_ham.adapters import DenseTerms, low_rank_branches
from avalanche_ham.errors import NoMatchError, OptionError


def inputs(dtype=torch.float64) -> torch.Tensor:
    return torch.linspace(-2, 2, 24, dtype=dtype).view(4, 6)


def test_merged_weights_are_entered_nested_and_left_bit_by_bit():
    network, adapters, _ = two_adapted(terms=DenseTerms)
    open_random(adapters)
    outer, inner = random_update(1, seed=50), {"first": random_update(1, seed=60)["first"]}
    state = {k: v.clone() for k, v in nn.ModuleList([network, adapters]).state_dict().items()}
    before = network(inputs())

    def expected(update):
        plain = TwoLinears().double()
        for name in ("first", "second"):
            layer, target = getattr(network, name), getattr(plain, name)
            change = update[name].dense() if name in update else 0
            target.weight.data, target.bias.data = layer.weight + change, layer.bias
        return plain(inputs())

    with adapters.merged(outer):
        torch.testing.assert_close(network(inputs()), expected(outer))
        with adapters.merged(inner):
            torch.testing.assert_close(network(inputs()), expected(inner))
        with adapters.merged(None):
            torch.testing.assert_close(network(inputs()), expected(outer))
        torch.testing.assert_close(network(inputs()), expected(outer))
    assert torch.equal(network(inputs()), before)
    after = nn.ModuleList([network, adapters]).state_dict()
    assert state.keys() == after.keys()
    assert all(torch.equal(after[k], v) for k, v in state.items())


def test_merged_weights_are_left_when_the_body_raises():
    network, adapters, _ = two_adapted(terms=DenseTerms)
    before = network(inputs())
    with pytest.raises(KeyError), adapters.merged(random_update(1, seed=50)):
        with adapters.merged(random_update(1, seed=51)):
            raise KeyError
    assert torch.equal(network(inputs()), before)
    adapters.restore()
    adapters.restore()
    assert torch.equal(network(inputs()), before)


def test_merged_weights_for_a_layer_that_is_not_adapted_are_refused():
    _, adapters, _ = two_adapted(terms=DenseTerms)
    with pytest.raises(NoMatchError, match="no adapted layer is called 'vit.first'"):
        with adapters.merged({"vit.first": random_update(1, seed=0)["first"]}):
            pass


def test_opening_an_adapter_leaves_merged_weights():
    network, adapters, _ = two_adapted(terms=DenseTerms)
    before = network(inputs())
    adapters.enter(random_update(1, seed=50))
    adapters.open(low_rank_branches(1))
    assert torch.equal(network(inputs()), before)


def test_an_update_that_does_not_fit_changes_no_layer():
    network, adapters, _ = two_adapted(terms=DenseTerms)
    before = network(inputs())
    update = random_update(1, seed=0)
    with pytest.raises(OptionError, match=r"second must be of shape \(5, 9\)"):
        adapters.enter({"first": update["first"], "second": update["first"]})
    assert torch.equal(network(inputs()), before)
