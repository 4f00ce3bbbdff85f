"""Plugins that keep a value per parameter, where parameters come with a task and go after it."""

from __future__ import annotations

import pytest
import torch
from avalanche.training.plugins import (
    EarlyStoppingPlugin,
    EWCPlugin,
    MASPlugin,
    RWalkPlugin,
    SynapticIntelligencePlugin,
)
from avalanche.training.utils import ParamData
from sampling import some_of
from streams import classic
from torch import nn
from toys import Watch, ham, make

from avalanche_ham.plugins import ParameterChangesPlugin

PENALTIES = {
    "ewc_online": lambda: EWCPlugin(10.0, mode="online", decay_factor=0.5),
    "ewc_separate": lambda: EWCPlugin(10.0),
    "mas": lambda: MASPlugin(10.0),
    "rwalk": lambda: RWalkPlugin(10.0, delta_t=2),
    "si": lambda: SynapticIntelligencePlugin(10.0),
}


# None of those trains what HAM or SEMA trained before, and SI sees no change on a CPU: said once.
has_no_effect = pytest.mark.filterwarnings("ignore:.* has no effect:UserWarning")


class Holder:
    """A plugin with a value per parameter, in the containers that Avalanche's use."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        kept = {name: ParamData(name, t.shape, init_tensor=t) for name, t in tensors.items()}
        self.by_task = {0: kept}
        self.pair = (dict(kept), {"note": 1})


class Strategy:
    """A model and plugins."""

    def __init__(self, model: nn.Module, *plugins) -> None:
        self.model, self.plugins = model, plugins


def test_values_of_parameters_that_are_gone_are_dropped_and_longer_ones_are_cut():
    model = nn.Module()
    model.scales, model.weight = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3, 2))
    values = {
        "scales": torch.tensor([1.0, 2.0, 3.0]),
        "weight": torch.ones(6),  # SI keeps its values flat
        "branch": torch.ones(4),
    }
    holder = Holder(**values)
    ParameterChangesPlugin().after_training_exp(Strategy(model, holder))
    for kept in (holder.by_task[0], holder.pair[0]):
        assert set(kept) == {"scales", "weight"}
        assert kept["scales"].data.tolist() == [1.0, 2.0] and kept["scales"].shape == (2,)
        assert torch.equal(kept["weight"].data, values["weight"])
    assert holder.pair[1] == {"note": 1}


def test_a_name_keeps_its_place_and_new_ones_come_last(model):
    before = [name for name, _ in model.named_parameters()]
    model.attach_adapters()
    model.head.grow([0, 1])
    later = [name for name, _ in model.named_parameters()]
    model.head.grow([2])
    last = [name for name, _ in model.named_parameters()]
    assert last[: len(later)] == later and later[: len(before)] == before
    assert last[len(later) :] == ["head.tasks.1.weight", "head.tasks.1.bias"]
    assert {n for n, _ in model.named_parameters("m")} == {f"m.{n}" for n in last}


@has_no_effect
@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("method", some_of(["ham", "lora"], "ham"))
def test_penalties_run_and_know_no_parameter_that_is_gone(benchmark, kind, method):
    plugin = PENALTIES[kind]()
    strategy = make(method, plugins=[plugin])
    strategy.train(benchmark.train_stream[:3], eval_streams=[])
    names = {name for name, _ in strategy.model.named_parameters()}
    held = {name for node in vars(plugin).values() for name in held_names(node)}
    assert held and held <= names
    assert torch.isfinite(strategy.adapters.scales).all()


def held_names(node) -> set[str]:
    """Names of parameters with a value somewhere in a plugin's containers."""
    if isinstance(node, dict):
        own = {k for k, v in node.items() if isinstance(v, ParamData)}
        return own.union(*(held_names(v) for v in node.values()))
    if isinstance(node, tuple):
        return set().union(*map(held_names, node))
    return set()


def test_ewc_pulls_one_lora_back_to_where_the_first_task_left_it():
    drifts = []
    for strength in (0.0, 1e6):
        stream = classic().train_stream
        strategy = make("lora", {"steps": 8}, plugins=[EWCPlugin(strength)])
        branch = next(iter(strategy.adapters.layers.values())).branch
        strategy.train(stream[0], eval_streams=[])
        anchor = branch.b.detach().clone()
        strategy.train(stream[1], eval_streams=[])
        drifts.append(float((branch.b - anchor).norm()))
    assert drifts[1] < drifts[0]


@has_no_effect
def test_si_meets_the_adapters_that_sema_adds_within_an_experience():
    plugin, stream = SynapticIntelligencePlugin(1.0), classic(4).train_stream
    strategy = make("sema", {"steps": 2, "threshold": 0.01}, plugins=[plugin])
    for experience in stream[:2]:
        strategy.train(experience, eval_streams=[])
    grown = [n for n in plugin.ewc_data[0] if ".adapters.1." in n]
    assert strategy.encoder.n_adapters > 3 and grown
    assert all(float(plugin.ewc_data[0][n].data.abs().sum()) > 0 for n in grown if "down.w" in n)


def test_early_stopping_begins_anew_with_what_a_phase_has_added():
    stream = classic(4)
    plugin = EarlyStoppingPlugin(1, "test_stream")
    options = {"steps": None, "epochs": 3, "threshold": 0.01}
    strategy = make("sema", options, plugins=[plugin], eval_every=1)
    strategy.train(stream.train_stream[:2], eval_streams=[stream.test_stream])
    assert strategy.encoder.n_adapters > 3


def test_rwalk_leaves_training_forwards_in_training_mode():
    modes: list[bool] = []
    watch = Watch(before_forward=lambda s: modes.append(s.model.training))
    strategy = ham(plugins=[RWalkPlugin(delta_t=2), watch])
    strategy.train(classic().train_stream[0], eval_streams=[])
    assert modes == [True] * 4
