"""A state taken from a strategy, and put back into it or another one."""

from __future__ import annotations

import copy

import pytest
from sampling import some_of
from toys import differing, make, state_of

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
