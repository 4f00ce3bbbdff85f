"""All adapted layers of a network: opening, closing, adding, copying, saving."""

from __future__ import annotations

import copy

import pytest
import torch
from reference_adapters import (
    TwoLinears,
    dense_weight,
    open_random,
    random_change,
    random_update,
    two_adapted,
)

from avalanche_ham.adapters import (
    AdaptedLinear,
    AdapterSet,
    DenseTerms,
    LowRank,
    LowRankTerms,
    dense,
    low_rank_branches,
)
from avalanche_ham.errors import NoMatchError, OptionError

TERMS = (DenseTerms, LowRankTerms)


def inputs(dtype=torch.float64) -> torch.Tensor:
    return torch.linspace(-2, 2, 24, dtype=dtype).view(4, 6)


def test_targets_name_layers_by_suffix_and_state_dict_keys_of_the_network_stay(tiny_model):
    vit = tiny_model().encoder.vit
    before = vit.state_dict()
    adapters = AdapterSet(vit, ("attn.qkv", "mlp.fc1"))
    expected = [f"blocks.{b}.{t}" for b in range(3) for t in ("attn.qkv", "mlp.fc1")]
    assert list(adapters.layers) == expected
    after = vit.state_dict()
    assert all(
        after[name] is not None and torch.equal(after[name], before[name]) for name in before
    )
    assert {n for n in after if n not in before} == {f"{n}.terms.stack" for n in expected}
    assert not any(p.requires_grad for p in vit.parameters())


def test_the_last_layer_is_that_of_the_last_block(tiny_model):
    assert AdapterSet(tiny_model().encoder.vit).last_layer == "blocks.2.attn.qkv"
    targets = ("mlp.fc2", "attn.qkv")  # in whatever order they are named
    assert AdapterSet(tiny_model().encoder.vit, targets).last_layer == "blocks.2.mlp.fc2"


@pytest.mark.parametrize("target", ["attn.qvk", "kv", "blocks.0.attn", "norm1"])
def test_a_target_that_matches_no_linear_layer_raises(tiny_model, target):
    with pytest.raises(NoMatchError, match=f"no linear layer's name ends with '{target}'"):
        AdapterSet(tiny_model().encoder.vit, ("attn.qkv", target))


def test_closing_gives_the_trained_factors_and_leaves_the_terms_alone():
    network, adapters, _ = two_adapted(terms=DenseTerms)
    before = network(inputs())
    open_random(adapters)
    assert adapters.n_terms == 2 and len(adapters.scales) == 3
    expected = {n: layer.branch.factors().dense() for n, layer in adapters.layers.items()}
    current, closed = adapters.current(), adapters.close()
    for name, value in expected.items():
        assert torch.equal(current[name].dense(), value)
        assert torch.equal(closed[name].dense(), value)
    assert torch.equal(network(inputs()), before)
    assert adapters.scales.tolist() == [0.7, -1.3] and not adapters.scales.requires_grad


def test_only_one_adapter_is_open_at_a_time():
    _, adapters, _ = two_adapted(terms=DenseTerms)
    with pytest.raises(RuntimeError, match="no adapter is open"):
        adapters.close()
    open_random(adapters)
    with pytest.raises(RuntimeError, match="open already"):
        open_random(adapters)
    with pytest.raises(RuntimeError, match="close the open adapter"):
        adapters.add(random_update(1, seed=0), scale=1.0)


@pytest.mark.parametrize("kind", TERMS)
def test_adding_onto_a_term_sums_it_and_sets_its_scale(kind):
    _network, adapters, terms = two_adapted(terms=kind)
    more = random_update(2, seed=30)
    assert adapters.add(more, scale=0.2, to=0) == 0
    for name, layer in adapters.layers.items():
        changes = [(0.2, terms[0][name]), (0.2, more[name]), (-1.3, terms[1][name])]
        torch.testing.assert_close(
            layer.combined(with_branch=False), dense_weight(layer.weight, changes)
        )
    assert adapters.scales.tolist() == [0.2, -1.3]


@pytest.mark.parametrize("kind", TERMS)
def test_an_update_of_some_layers_only_counts_as_a_term_everywhere(kind):
    network = TwoLinears().double()
    adapters = AdapterSet(network, ("first", "second"), kind)
    whole = random_update(2, seed=3)
    adapters.add({"first": random_update(1, seed=4)["first"]}, scale=5.0)
    assert adapters.add(whole, scale=2.0) == 1
    second = adapters.layers["second"]
    expected = dense_weight(second.weight, [(2.0, whole["second"])])
    torch.testing.assert_close(second.combined(with_branch=False), expected)


def test_adding_what_does_not_fit_raises():
    _, adapters, _ = two_adapted(terms=DenseTerms)
    with pytest.raises(NoMatchError, match="'third'"):
        adapters.add({"third": torch.zeros(2, 2)}, scale=1.0)
    with pytest.raises(OptionError, match="to must be the index of one of 2 terms"):
        adapters.add(random_update(1, seed=0), scale=1.0, to=2)


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("to", [None, 1])
@pytest.mark.parametrize(
    "bad",
    [
        random_change((5, 6), 2, seed=1),  # inputs
        random_change((4, 9), 2, seed=1),  # outputs
        random_change((1, 9), 2, seed=1),  # would be spread over all rows
        LowRank(torch.zeros(2, 9), torch.zeros(5, 3)),  # factors of two ranks
        torch.zeros(5, 1),
        torch.zeros(9),
    ],
    ids=str,
)
def test_wrong_shapes_are_refused_before_anything_is_written(kind, to, bad):
    network, adapters, _ = two_adapted(terms=kind)
    update = {"first": random_change((9, 6), 2, seed=3), "second": bad}
    with pytest.raises(OptionError, match=r"the change of second must be of shape \(5, 9\)"):
        adapters.enter({n: dense(c) if n == "first" else c for n, c in update.items()})
    assert all(layer.merged is None for layer in adapters.layers.values())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(OptionError, match=r"the change of second must be of shape \(5, 9\)"):
        adapters.add(update, scale=3.0, to=to)
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert adapters.n_terms == 2 and 3.0 not in adapters.scales.tolist()


def test_a_dense_change_is_refused_where_terms_are_low_rank():
    _, adapters, _ = two_adapted(terms=LowRankTerms)
    update = {"first": random_change((9, 6), 2, seed=3), "second": torch.zeros(5, 9)}
    with pytest.raises(OptionError, match="the change of second must be low-rank"):
        adapters.add(update, scale=3.0)
    assert adapters.n_terms == 2 and adapters.layers["first"].terms.term(1).rank == 3


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("train_scales", [True, False])
def test_the_total_is_the_whole_change_that_training_sees(kind, train_scales):
    _, adapters, terms = two_adapted(terms=kind)
    open_random(adapters, train_scales=train_scales)
    for name, change in adapters.total().items():
        branch = adapters.layers[name].branch.factors().dense().detach()
        expected = 0.7 * terms[0][name].dense() - 1.3 * terms[1][name].dense() + 0.4 * branch
        torch.testing.assert_close(change, expected)


@pytest.mark.parametrize("kind", TERMS)
def test_the_whole_change_has_the_rank_of_its_parts_without_rounding_noise(kind):
    network = TwoLinears()
    adapters = AdapterSet(network, ("first", "second"), kind)
    with torch.no_grad():
        for layer in adapters.layers.values():
            layer.weight.mul_(100)  # a sum with W0 would round the small change
    adapters.add(random_update(1, seed=1, dtype=torch.float32), scale=0.01)
    adapters.open(low_rank_branches(1))
    for layer in adapters.layers.values():
        torch.nn.init.normal_(layer.branch.b)
    for name, change in adapters.total().items():
        layer = adapters.layers[name]
        a, b = layer.branch.factors()
        term = adapters.term(0)[name]
        expected = 0.01 * dense(term).double() + b.double() @ a.double()
        torch.testing.assert_close(change.double(), expected, rtol=1e-5, atol=1e-6)
        assert torch.linalg.matrix_rank(change) == 2


@pytest.mark.parametrize("kind", TERMS)
def test_cleared_of_all_it_knows_the_network_is_the_bare_one(kind):
    network, adapters, _ = two_adapted(terms=kind)
    adapters.open(low_rank_branches(1))
    adapters.enter(random_update(1, seed=50))
    adapters.clear()
    torch.manual_seed(0)
    bare = TwoLinears().double()
    bare.load_state_dict(network.state_dict(), strict=False)
    assert torch.equal(network(inputs()), bare(inputs()))
    assert adapters.n_terms == 0 and not adapters.is_open


@pytest.mark.parametrize("train_scales", [True, False])
def test_a_deep_copy_shares_nothing_with_the_original(tiny_model, train_scales):
    model = tiny_model()
    adapters = model.attach_adapters()
    adapters.open(low_rank_branches(2))
    adapters.add(adapters.close(), scale=0.5)
    adapters.open(low_rank_branches(2), train_scales=train_scales)
    images = torch.rand(2, 3, 16, 16)
    twin = copy.deepcopy(model)
    before = twin.encode(images).features
    assert torch.equal(before, model.encode(images).features)
    layers = [m for m in twin.modules() if isinstance(m, AdaptedLinear)]
    assert len(layers) == 3 and list(twin.adapters.layers.values()) == layers
    assert all(layer._owner[0] is twin.adapters for layer in layers)
    with torch.no_grad():
        adapters.scales.fill_(50.0)
        for layer in adapters.layers.values():
            layer.branch.b.fill_(1.0)
            layer.terms.stack.fill_(7.0)
            layer.weight.add_(1.0)
            if layer.fixed is not None:
                layer.fixed.add_(1.0)
    adapters.enter({})
    assert torch.equal(twin.encode(images).features, before)
    assert not torch.allclose(model.encode(images).features, before)


@pytest.mark.parametrize("kind", TERMS)
def test_a_state_dict_brings_closed_terms_into_a_fresh_model(tiny_model, kind):
    def make():
        model = tiny_model(seed=1)
        return model, model.attach_adapters(terms=kind)

    model, adapters = make()
    for scale in (0.5, -2.0):
        open_random(adapters, rank=3)
        adapters.add(adapters.close(), scale=scale)
    fresh, fresh_adapters = make()
    images = torch.rand(2, 3, 16, 16)
    expected = model.encode(images).features
    assert not torch.allclose(fresh.encode(images).features, expected)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.encode(images).features, expected)
    assert fresh_adapters.n_terms == 2 and fresh_adapters.scales.tolist() == [0.5, -2.0]
    open_random(fresh_adapters, rank=3)
    assert len(fresh_adapters.scales) == 3
