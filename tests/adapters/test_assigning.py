"""Writing values into an open branch or a term: what the next forward uses, and what cannot fit."""

from __future__ import annotations

import pytest
import torch
from reference_adapters import TwoLinears, open_random, random_change, random_update, two_adapted

from avalanche_ham.adapters import AdapterSet, DenseTerms, LowRank, LowRankTerms, low_rank_branches
from avalanche_ham.errors import NoMatchError, OptionError

TERMS = (DenseTerms, LowRankTerms)


def inputs() -> torch.Tensor:
    return torch.linspace(-2, 2, 24, dtype=torch.float64).view(4, 6)


def dense_forward(network, x, changes):
    """The network with ``W0 + sum_j alpha_j B_j A_j``, each layer's matrix written out."""
    weights = {
        name: getattr(network, name).weight + sum(s * u[name].b @ u[name].a for s, u in changes)
        for name in ("first", "second")
    }
    hidden = torch.tanh(x @ weights["first"].T + network.first.bias)
    return hidden @ weights["second"].T + network.second.bias


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("train_scales", [True, False])
def test_the_next_forward_uses_what_was_assigned_to_the_branch(terms, train_scales):
    network, adapters, (one, two) = two_adapted(terms=terms)
    open_random(adapters, train_scales=train_scales)
    fresh = random_update(2, 31)
    adapters.assign(fresh)
    expected = dense_forward(network, inputs(), [(0.7, one), (-1.3, two), (0.4, fresh)])
    torch.testing.assert_close(network(inputs()), expected)
    for name, change in adapters.current().items():
        assert torch.equal(change.a, fresh[name].a) and torch.equal(change.b, fresh[name].b)


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("train_scales", [None, True, False])
def test_the_next_forward_uses_what_was_assigned_to_a_term(terms, train_scales):
    network, adapters, (one, _) = two_adapted(terms=terms)
    changes = [(0.7, one)]
    if train_scales is not None:
        open_random(adapters, train_scales=train_scales)
        changes.append((0.4, adapters.current()))
    network(inputs())  # what forwards remember must not survive
    fresh = random_update(4, 31)  # of another rank than the term before
    adapters.assign(fresh, to=1)
    expected = dense_forward(network, inputs(), [*changes, (-1.3, fresh)])
    torch.testing.assert_close(network(inputs()), expected)
    torch.testing.assert_close(adapters.term(1)["first"], _held(fresh["first"], terms))
    torch.testing.assert_close(adapters.term(0)["first"], _held(one["first"], terms))


def _held(change, terms):
    return change.dense() if terms is DenseTerms else change


@pytest.mark.parametrize("slots", [("q", "v"), ("k",), ("v", "q")])
@pytest.mark.parametrize("shared_input", [True, False])
def test_slots_take_back_the_factors_that_they_gave(slots, shared_input):
    network = torch.nn.Sequential(torch.nn.Linear(4, 12))
    adapters = AdapterSet(network, ("0",))
    adapters.open(low_rank_branches(2, slots=slots, shared_input=shared_input))
    branch = adapters.layers["0"].branch
    with torch.no_grad():
        branch.b.copy_(torch.randn(branch.b.shape, generator=torch.Generator().manual_seed(3)))
    given = adapters.current()
    with torch.no_grad():
        branch.a.zero_()
        branch.b.zero_()
    adapters.assign(given)
    x = torch.linspace(-1, 1, 8).view(2, 4)
    base = network[0]
    expected = x @ (base.weight + given["0"].b @ given["0"].a).T + base.bias
    torch.testing.assert_close(network(x), expected)
    filled = LowRank(given["0"].a, given["0"].b + 1)
    with pytest.raises(OptionError, match="zero outside the blocks of its slots"):
        adapters.assign({"0": filled})


def test_the_optimiser_goes_on_with_the_same_parameters_and_its_state():
    network, adapters, _ = two_adapted(terms=DenseTerms)
    open_random(adapters, train_scales=False)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=0.1)
    network(inputs()).square().sum().backward()
    optimiser.step()
    moments = [optimiser.state[p]["exp_avg"].clone() for p in parameters]
    adapters.assign(random_update(2, 31))
    after = [p for p in network.parameters() if p.requires_grad]
    assert [id(p) for p in after] == [id(p) for p in parameters]
    assert all(torch.equal(optimiser.state[p]["exp_avg"], m) for p, m in zip(after, moments))
    kept = adapters.current()["first"]
    optimiser.step()
    assert not torch.equal(adapters.current()["first"].a, kept.a)


def test_layers_that_the_update_does_not_name_keep_their_values():
    _, adapters, (_, two) = two_adapted(terms=DenseTerms)
    open_random(adapters)
    before = adapters.current()["second"]
    adapters.assign({"first": random_change((9, 6), 2, 31)})
    assert torch.equal(adapters.current()["second"].b, before.b)
    adapters.assign({"first": random_change((9, 6), 2, 31)}, to=1)
    torch.testing.assert_close(adapters.term(1)["second"], two["second"].dense())


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (random_change((5, 9), 3, 1), r"the change of second must be factors of shapes \(2, 9\)"),
        (random_change((6, 9), 2, 1), r"\(5, 2\), but got 'factors of shapes .* and \(6, 2\)"),
        (torch.zeros(5, 9, dtype=torch.float64), r"but got 'a dense change of shape \(5, 9\)"),
    ],
)
def test_what_does_not_fit_the_branch_is_one_line_and_nothing_is_written(second, message):
    _, adapters, _ = two_adapted(terms=DenseTerms)
    open_random(adapters)
    before = adapters.current()
    with pytest.raises(OptionError, match=message):
        adapters.assign({"first": random_change((9, 6), 2, 31), "second": second})
    assert torch.equal(adapters.current()["first"].a, before["first"].a)


def test_what_does_not_fit_a_term_is_one_line_and_nothing_is_written():
    wrong = {"first": random_change((9, 6), 2, 31), "second": random_change((9, 5), 2, 31)}
    dense = {"first": torch.zeros(9, 6, dtype=torch.float64)}
    for terms in TERMS:
        _, adapters, _ = two_adapted(terms=terms)
        before = adapters.term(0)["first"]
        with pytest.raises(OptionError, match=r"the change of second must be of shape \(5, 9\)"):
            adapters.assign(wrong, to=0)
        torch.testing.assert_close(adapters.term(0)["first"], before)
        with pytest.raises(OptionError, match="to must be the index of one of 2 terms"):
            adapters.assign(dense, to=2)
    with pytest.raises(OptionError, match="the change of first must be low-rank"):
        adapters.assign(dense, to=0)


def test_unknown_layers_and_a_branch_that_is_not_open_are_told():
    adapters = AdapterSet(TwoLinears().double(), ("first",))
    with pytest.raises(RuntimeError, match="no adapter is open"):
        adapters.assign({"first": random_change((9, 6), 2, 1)})
    with pytest.raises(NoMatchError, match="no adapted layer is called 'second'"):
        adapters.assign(random_update(2, 1))
