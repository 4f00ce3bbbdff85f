"""HAM's plugins in a strategy of Avalanche's: a wrong order or a missing one is said at once."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from avalanche.training.supervised import Naive
from toys import silent

from avalanche_ham import (
    AdapterGroupingPlugin,
    AlphaBalancingPlugin,
    FinalMergingPlugin,
    ReadoutPlugin,
    ScopedCrossEntropy,
    create_model,
)
from avalanche_ham.errors import HamError
from avalanche_ham.strategies.ham import merge_groups


def naive(model, names: list[str]) -> Naive:
    """Naive with HAM's plugins in the order of ``names``."""
    adapters = model.attach_adapters()
    grouping = AdapterGroupingPlugin(adapters)
    parts = {
        "balancing": AlphaBalancingPlugin(adapters, rank=4),
        "grouping": grouping,
        "readout": ReadoutPlugin(),
        "merging": FinalMergingPlugin(adapters, update=partial(merge_groups, adapters, grouping)),
    }
    return Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        criterion=ScopedCrossEntropy(model.head),
        train_mb_size=24,
        plugins=[parts[name] for name in names],
        evaluator=silent(),
    )


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["grouping", "balancing"], "AlphaBalancingPlugin must stand before AdapterGroupingPlugin"),
        (["merging", "grouping", "balancing"], "must stand before AdapterGroupingPlugin"),
        (["grouping", "merging"], "AdapterGroupingPlugin needs an AlphaBalancingPlugin before it"),
    ],
)
def test_a_wrong_order_is_refused_before_anything_trains(model, benchmark, names, line):
    strategy = naive(model, names)
    with pytest.raises(HamError, match=line):
        strategy.train(benchmark.train_stream[0])
    assert not model.adapters.is_open and not len(model.head.classes)


@pytest.mark.parametrize("names", [["readout", "balancing", "grouping"], ["balancing", "readout"]])
def test_a_readout_before_what_it_reads_is_refused_unless_it_reads_nothing(benchmark, names):
    strategy = naive(create_model("tiny", n_classes=10, head="ncm"), [*names, "grouping"][:3])
    with pytest.raises(HamError, match="Plugin must stand before ReadoutPlugin"):
        strategy.train(benchmark.train_stream[0])
    assert not strategy.model.adapters.is_open and not len(strategy.model.head.classes)
    naive(create_model("tiny", n_classes=10), [*names, "grouping"][:3]).train(
        benchmark.train_stream[0]
    )


@pytest.mark.parametrize("names", [["balancing", "grouping", "merging"], ["merging", "balancing"]])
def test_merging_may_stand_anywhere(model, benchmark, names):
    naive(model, names).train(benchmark.train_stream[0])
    assert len(model.head.classes) == 2


def test_an_adapter_that_nobody_closes_is_said_at_the_next_task(model, benchmark):
    strategy = naive(model, ["balancing"])
    strategy.train(benchmark.train_stream[0])
    with pytest.raises(HamError, match="nobody has closed the last task's adapter"):
        strategy.train(benchmark.train_stream[1])


def test_a_model_replaced_after_the_plugins_were_made_is_refused_at_evaluation(model, benchmark):
    strategy = naive(model, ["balancing", "grouping", "merging"])
    strategy.train(benchmark.train_stream[0])
    strategy.model = copy.deepcopy(model)
    with pytest.raises(HamError, match="was it replaced after the plugins were made"):
        strategy.eval(benchmark.test_stream[:1])
