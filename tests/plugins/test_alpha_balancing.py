"""The plugin of Sec. 3.2.1: what it opens, logs, warns of and refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from toys import ham

from avalanche_ham import AlphaBalancingPlugin
from avalanche_ham.errors import OptionError


@pytest.fixture
def adapted(model):
    """A model with adapters, and a stand-in for a strategy around it."""
    adapters = model.attach_adapters()
    strategy = SimpleNamespace(model=model, optimizer=None)
    return adapters, strategy


def test_it_opens_a_fresh_adapter_whose_scalar_starts_as_asked(adapted):
    adapters, strategy = adapted
    plugin = AlphaBalancingPlugin(adapters, rank=3, alpha=0.6)
    plugin.before_train_dataset_adaptation(strategy)
    assert adapters.is_open and adapters.scales.tolist() == pytest.approx([0.6])
    assert adapters.scales.requires_grad
    assert all(layer.branch.a.shape == (3, 48) for layer in adapters.layers.values())
    assert all(not layer.branch.b.any() for layer in adapters.layers.values())


def test_scalars_can_be_kept_where_they_start(benchmark):
    strategy = ham(train_alphas=False)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert all(log["start"] == log["end"] for log in strategy.balancing.memory["alphas"])
    assert strategy.adapters.scales.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("alpha_lr", [0.0, 0.3])
def test_the_scalars_have_a_learning_rate_of_their_own(benchmark, alpha_lr):
    strategy = ham(alpha_lr=alpha_lr, steps=3)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    log = strategy.balancing.memory["alphas"][0]
    moved = abs(log["end"][0] - log["start"][0])
    assert moved == 0.0 if alpha_lr == 0.0 else moved > 0.1  # AdamW moves by about lr a step


def test_a_negligible_scalar_is_warned_of_by_name(adapted):
    adapters, strategy = adapted
    plugin = AlphaBalancingPlugin(adapters, rank=2)
    for scale in (1.0, 1.0):
        plugin.before_train_dataset_adaptation(strategy)
        update = adapters.close()
        adapters.add(update, scale=scale)
    plugin.before_train_dataset_adaptation(strategy)
    with torch.no_grad():
        adapters.scales.copy_(torch.tensor([0.9, -0.01, 0.02]))
    with pytest.warns(UserWarning) as caught:
        plugin.after_training_exp(strategy)
    messages = [str(w.message) for w in caught]
    assert messages == [
        "alpha of group 1 is -0.010: it hardly takes part any more",
        "alpha of the new adapter is 0.020: it hardly takes part any more",
    ]
    assert plugin.memory["alphas"] == [
        {"start": [1.0, 1.0, 1.0], "end": pytest.approx([0.9, -0.01, 0.02])}
    ]


def test_a_rank_that_does_not_fit_is_refused_at_once_and_draws_nothing(adapted):
    adapters, _ = adapted
    state = torch.get_rng_state()
    with pytest.raises(OptionError, match="rank must be between 1 and 48.*got 49"):
        AlphaBalancingPlugin(adapters, rank=49)
    AlphaBalancingPlugin(adapters, rank=48)
    assert torch.equal(torch.get_rng_state(), state)
    assert not adapters.is_open


def test_a_negative_learning_rate_is_refused(adapted):
    with pytest.raises(OptionError, match="alpha_lr must be at least 0"):
        AlphaBalancingPlugin(adapted[0], alpha_lr=-1.0)
