"""Assignment rules and rules within a group, by name."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham import HAMStrategy
from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import NoMatchError, UnknownNameError
from avalanche_ham.grouping.registry import (
    ASSIGNMENTS,
    WITHIN,
    MembersMerger,
    check_within,
    make_assignment,
)
from avalanche_ham.merging import Linear, Ties, merge


def _rule(name, max_groups=2):
    return make_assignment(name, threshold=0.5, max_groups=max_groups)


def test_all_rules_open_a_group_first():
    for name in ASSIGNMENTS:
        assert _rule(name)(torch.empty(0)) is None


def test_similarity_and_opened_similarity_differ_only_until_all_groups_are_open():
    alike = torch.tensor([0.9])
    assert _rule("similarity")(alike) == 0
    assert _rule("opened_similarity")(alike) is None
    both = torch.tensor([-0.9, 0.1])
    assert _rule("similarity")(both) == _rule("opened_similarity")(both) == 1


def test_orthogonality_joins_the_smallest_absolute_cosine():
    assert _rule("orthogonality")(torch.tensor([0.9])) is None
    assert _rule("orthogonality", 3)(torch.tensor([-0.3, 0.9, -0.2])) == 2
    assert _rule("opened_similarity", 3)(torch.tensor([-0.3, 0.9, -0.2])) == 1


def test_none_opens_a_group_for_everyone():
    assert _rule("none", max_groups=1)(torch.ones(7)) is None


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'similarity'"):
        _rule("similarty")
    with pytest.raises(UnknownNameError, match="within"):
        check_within("tie")
    with pytest.raises(NoMatchError):
        MembersMerger("concatenate")


def _update(generator):
    a, b = torch.randn(2, 5, generator=generator), torch.randn(4, 2, generator=generator)
    return {"layer": LowRank(a, b)}


@pytest.mark.parametrize(
    "name, rule, weights", [("linear", Linear(), "mean"), ("ties", Ties(), "one")]
)
def test_members_merge_as_the_merging_baselines_do(name, rule, weights):
    generator = torch.Generator().manual_seed(0)
    updates = [_update(generator) for _ in range(3)]
    merger, total = MembersMerger(name), torch.zeros(4, 5)
    for k, update in enumerate(updates, 1):
        merger.add(update)
        expected = merge(updates[:k], rule, normalise=weights, space="factors")["layer"]
        step = merger.step(None if k == 1 else {"layer": total})["layer"]
        total = total + (step.dense() if isinstance(step, LowRank) else step)
        assert torch.allclose(total, expected.dense(), atol=1e-6)
        assert merger.factors()["layer"].rank == 2  # unlike a concatenation


@pytest.mark.parametrize("within", WITHIN)
def test_ham_holds_the_same_change_as_factors_as_terms_and_after_a_rebuild(
    tiny_model, benchmark, within
):
    ham = HAMStrategy(
        model=tiny_model(),
        rank=2,
        steps=3,
        lr=0.01,
        evaluator=None,
        within=within,
        max_groups=1,
    )
    for experience in benchmark.train_stream[:3]:
        ham.train(experience, eval_streams=[])
    layer = ham.adapters.last_layer
    term = ham.adapters.term(0)[layer].clone()
    assert torch.allclose(ham.grouping.factors(0)[layer].dense(), term, atol=1e-6)
    assert (ham.grouping.factors(0)[layer].rank == 2) == (within != "concatenate")
    twin = HAMStrategy(model=tiny_model(), rank=2, evaluator=None, within=within, max_groups=1)
    twin.load_state_tree(ham.state_tree())
    assert torch.equal(twin.adapters.term(0)[layer], term)


def test_alphas_that_are_not_trained_stay(tiny_model, benchmark):
    ham = HAMStrategy(
        model=tiny_model(),
        rank=2,
        steps=3,
        lr=0.01,
        evaluator=None,
        alpha=0.7,
        train_alphas=False,
    )
    for experience in benchmark.train_stream[:3]:
        ham.train(experience, eval_streams=[])
    assert ham.adapters.scales.tolist() == pytest.approx([0.7] * ham.adapters.n_terms)
    assert all(e["end"] == e["start"] for e in ham.balancing.memory["alphas"])
