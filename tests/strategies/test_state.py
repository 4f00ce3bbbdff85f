"""A state taken from a strategy, and put back into it or another one."""

from __future__ import annotations

import copy

import pytest
from sampling import some_of
from toys import differing, ham, make, state_of

from avalanche_ham import create_model
from avalanche_ham.errors import StateError
from avalanche_ham.runs.saving import load_tree, save_tree

METHODS = ("ham", "lora", "finetune", "ridge", "l2p", "sema", "sd_lora", "o_lora", "slao", "magmax")
HEAD = "linear,ncm"


@pytest.mark.parametrize("method", some_of(METHODS, "ham", "sema", "finetune"))
def test_a_state_is_a_copy_that_can_be_gone_back_to_and_given_away(benchmark, method):
    first, second = benchmark.train_stream[:2]
    one, two = make(method, head=HEAD), make(method, head=HEAD)
    one.train(first, eval_streams=[])
    taken = one.state_tree()
    before = copy.deepcopy(taken)
    one.train(second, eval_streams=[])
    whole = state_of(one.model)
    for strategy in (one, two, one):
        strategy.load_state_tree(taken)
        assert strategy.task == 1
        strategy.train(second, eval_streams=[])
        assert not differing(state_of(strategy.model), whole)
        assert taken["memory"].keys() == before["memory"].keys()
        assert not differing(taken["model"], before["model"])


def test_saving_each_copy_writes_an_adapter_once(benchmark, tmp_path):
    strategy, stamps = make("ham"), []
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
        save_tree(tmp_path, strategy.state_tree())
        stamps.append({p.name: p.stat().st_mtime_ns for p in tmp_path.glob("memory-*")})
    assert [len(s) for s in stamps] == [1, 2, 3]
    assert all(stamps[2][name] == stamp for s in stamps for name, stamp in s.items())
    assert len(load_tree(tmp_path)["memory"]["grouping"]["adapters"]) == 3


def trained(benchmark, method, head="linear"):
    strategy = make(method, head=head)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    return strategy


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "saved, head, loaded, other, told, told_of_old",
    [
        ("ham", "linear", "lora", "linear", "of HAMStrategy, and this is Sequ", "lacks encoder"),
        ("lora", "linear", "ham", "linear", "of SequentialStrategy, and this", "lacks 'balancing'"),
        ("ham", "linear", "ham", "lda", "lacks readouts.lda.", "lacks readouts.lda."),
        ("ham", "lda", "ham", "linear", "holds readouts.lda.", "holds readouts.lda."),
        ("finetune", "linear", "lora", "linear", "lacks adapters", "lacks adapters"),
    ],
)
def test_a_state_of_another_kind_is_refused(
    benchmark, saved, head, loaded, other, told, told_of_old, old
):
    tree = trained(benchmark, saved, head).state_tree()
    if old:
        tree = as_before(tree)
    with pytest.raises(StateError, match=told_of_old if old else told):
        make(loaded, head=other).load_state_tree(tree)


def as_before(tree):
    """The tree as earlier versions saved it."""
    return {name: tree[name] for name in ("task", "memory", "model")}


def test_a_state_of_another_backbone_is_refused_and_changes_nothing(benchmark):
    tree = trained(benchmark, "ham").state_tree()
    other = ham(create_model("tiny", n_classes=10, seed=9))
    other.train(benchmark.train_stream[0], eval_streams=[])
    before = state_of(other.model)
    with pytest.raises(StateError, match="backbone with weights sha256-.*this one has sha256-"):
        other.load_state_tree(tree)
    assert not differing(state_of(other.model), before) and other.task == 1


@pytest.mark.parametrize("method", ["ham", "lora", "finetune"])
def test_a_state_of_an_earlier_version_loads(benchmark, method):
    strategy, again = trained(benchmark, method, HEAD), make(method, head=HEAD)
    again.load_state_tree(as_before(strategy.state_tree()))
    for one in (strategy, again):
        one.train(benchmark.train_stream[1], eval_streams=[])
    assert not differing(state_of(strategy.model), state_of(again.model))


@pytest.mark.parametrize("method", ["ham", "inflora", "o_lora", "pm"])
def test_a_model_whose_state_came_without_the_tasks_is_refused_before_training(benchmark, method):
    strategy, fresh = trained(benchmark, method), make(method)
    fresh.model.load_state_dict(strategy.model.state_dict())
    before = state_of(fresh.model)
    with pytest.raises(StateError, match="save_tree and load_tree"):
        fresh.train(benchmark.train_stream[1], eval_streams=[])
    assert not differing(state_of(fresh.model), before)


def test_groups_that_the_plugin_does_not_know_are_refused(benchmark):
    strategy = trained(benchmark, "ham")
    strategy.adapters.add(strategy.adapters.term(0), scale=1.0)
    with pytest.raises(StateError, match="holds 2 groups, and AdapterGroupingPlugin knows 1"):
        strategy.train(benchmark.train_stream[1], eval_streams=[])
