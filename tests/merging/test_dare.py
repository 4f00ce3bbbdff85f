"""DARE merging of one tensor, and of updates as peft does it."""

import itertools

import pytest
import reference
import torch
from reference import SIZES, merge_with_peft, random_update

from avalanche_ham.errors import OptionError
from avalanche_ham.merging import Dare, Linear, Ties, merge
from avalanche_ham.seeding import generator

WEIGHTS = [1.0, 0.5, -2.0]


@pytest.fixture
def tensors():
    source = torch.Generator().manual_seed(0)
    return [torch.randn(8, 9, generator=source).double() for _ in WEIGHTS]


def run(rule, tensors, weights=WEIGHTS, place="layer", scale=1.0):
    merger = rule.start(place)
    for index, (tensor, weight) in enumerate(zip(tensors, weights)):
        merger.add(tensor, weight, index)
    return merger.result(scale)


def mask(shape, density, seed, index, place):
    """The mask that the rule says it derives from these."""
    source = generator(seed, "dare", index, place)
    return torch.bernoulli(torch.full(shape, density), generator=source)


@pytest.mark.parametrize("then", [Linear(), Ties(density=1.0)])
def test_it_merges_thinned_tensors(tensors, then):
    masks = [mask((8, 9), 0.3, 5, i, "layer").double() for i in range(3)]
    thinned = [tensor * kept / 0.3 for tensor, kept in zip(tensors, masks)]
    assert 0 < torch.stack(masks).mean() < 1
    if then == Linear():
        expected = reference.linear(thinned, WEIGHTS)
    else:
        expected = reference.ties(thinned, WEIGHTS, 1.0)
    torch.testing.assert_close(run(Dare(0.3, 5, then), tensors), expected)


def test_again_gives_the_same_and_seed_place_and_index_do_not(tensors):
    same = [tensors[0]] * 2
    first = run(Dare(0.5, 1), same)
    assert torch.equal(first, run(Dare(0.5, 1), same))
    assert not torch.equal(first, run(Dare(0.5, 2), same))
    assert not torch.equal(first, run(Dare(0.5, 1), same, place="other"))
    one = run(Dare(0.5, 1), same[:1], [1.0])
    assert not torch.equal(first, (WEIGHTS[0] + WEIGHTS[1]) * one)


def test_one_more_tensor_changes_no_earlier_mask(tensors):
    rule = Dare(0.5, 3)
    more = run(rule, tensors) - run(rule, tensors[:2])
    only_last = WEIGHTS[2] * tensors[2] * mask((8, 9), 0.5, 3, 2, "layer") / 0.5
    torch.testing.assert_close(more, only_last)


def test_the_global_generator_is_left_alone(tensors):
    state = torch.get_rng_state()
    run(Dare(0.5), tensors)
    assert torch.equal(torch.get_rng_state(), state)


def test_over_many_seeds_it_is_unbiased(tensors):
    seeds = 2000
    mean = sum(run(Dare(0.5, seed), tensors) for seed in range(seeds)) / seeds
    variance = sum((w * t) ** 2 for w, t in zip(WEIGHTS, tensors))  # (1 - d) / d = 1
    error = (mean - reference.linear(tensors, WEIGHTS)).abs()
    assert (error < 5 * (variance / seeds).sqrt()).all()


def test_density_0_gives_zeros_and_density_1_the_rule_itself(tensors):
    assert torch.equal(run(Dare(0.0), tensors), torch.zeros(8, 9).double())
    assert torch.equal(run(Dare(1.0), tensors), run(Linear(), tensors))


@pytest.mark.parametrize("weight", [1.0, None])
@pytest.mark.parametrize(
    "kind, then", [("dare_linear", Linear()), ("dare_ties", Ties(density=1.0))]
)
@pytest.mark.parametrize("n", [2, 5])
def test_with_the_same_masks_it_equals_peft(monkeypatch, n, kind, then, weight):
    updates = [random_update(seed, dtype=torch.float32) for seed in range(n)]
    weight = weight or 1 / n
    shapes = {(layer, "a"): (4, i) for layer, (i, o) in SIZES.items()}
    shapes |= {(layer, "b"): (o, 4) for layer, (i, o) in SIZES.items()}
    masks = iter(
        [
            mask(shapes[layer, factor], 0.4, 7, index, f"{layer}.{factor}")
            for layer, factor, index in itertools.product(SIZES, "ab", range(n))
        ]
    )
    with monkeypatch.context() as patch:
        patch.setattr(torch, "bernoulli", lambda like: next(masks).view_as(like))
        expected = merge_with_peft(updates, [weight] * n, kind, density=0.4)
    assert next(masks, None) is None
    rule = Dare(0.4, 7, then)
    found = merge(updates, rule, weights=[weight] * n, space="factors")
    for layer, change in found.items():
        torch.testing.assert_close(change, expected[layer])


def test_options_are_checked():
    with pytest.raises(OptionError, match="density must be at least 0"):
        Dare(density=-0.1)


def test_the_record_can_say_what_it_was():
    assert repr(Dare()) == "Dare(density=0.2, seed=0, then=Linear())"
