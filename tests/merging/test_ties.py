"""TIES-Merging of one tensor."""

import pytest
import reference
import torch

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.merging import Ties
from avalanche_ham.merging.ties import survivors

WEIGHTS = [1.0, 0.5, -2.0, 1.5, 3.0]


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 7, generator=generator).double() for _ in WEIGHTS]


def run(rule, tensors, weights, scale=1.0):
    merger = rule.start("layer")
    for index, (tensor, weight) in enumerate(zip(tensors, weights)):
        merger.add(tensor, weight, index)
    return merger.result(scale)


@pytest.mark.parametrize("majority", ["total", "frequency"])
@pytest.mark.parametrize("density", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_it_trims_elects_and_averages(tensors, n, density, majority):
    tensors, weights = tensors[:n], WEIGHTS[:n]
    expected = reference.ties(tensors, weights, density, majority)
    found = run(Ties(density, majority), tensors, weights)
    torch.testing.assert_close(found, expected)
    assert (found != 0).any() == (density > 0)


def test_the_two_elections_differ(tensors):
    total, frequency = (
        run(Ties(1.0, majority), tensors, WEIGHTS) for majority in ("total", "frequency")
    )
    assert not torch.equal(total, frequency)


@pytest.mark.parametrize("majority", ["total", "frequency"])
def test_what_survives_is_what_is_averaged(tensors, majority):
    rule = Ties(0.6, majority)
    left = survivors(tensors, rule)
    counts = sum((tensor != 0).double() for tensor in left).clamp(min=1)
    torch.testing.assert_close(sum(left) / counts, run(rule, tensors, [1.0] * len(tensors)))
    for tensor, rest in zip(tensors, left):
        assert torch.equal(rest[rest != 0], tensor[rest != 0])
        assert 0 < int((rest != 0).sum()) < int(0.6 * tensor.numel())


def test_by_hand():
    first = torch.tensor([[3.0, -4.0, 1.0, -6.0]])
    second = torch.tensor([[5.0, 2.0, -1.0, 0.0]])
    # +: mean of both; -: larger alone; a tie elects +; 0 is no agreement
    expected = torch.tensor([[4.0, -4.0, 1.0, -6.0]])
    assert torch.equal(run(Ties(1.0), [first, second], [1, 1]), expected)


def test_weights_have_no_vote():
    first, second = torch.tensor([[3.0]]), torch.tensor([[-2.0]])
    assert run(Ties(1.0), [first, second], [0.1, 100]).item() == pytest.approx(0.3)


def test_scale_multiplies_every_weight(tensors):
    expected = reference.ties(tensors, [w / 5 for w in WEIGHTS], 0.5)
    torch.testing.assert_close(run(Ties(0.5), tensors, WEIGHTS, 0.2), expected)


def test_order_does_not_matter(tensors):
    found = run(Ties(0.5), tensors[::-1], WEIGHTS[::-1])
    torch.testing.assert_close(found, run(Ties(0.5), tensors, WEIGHTS))


def test_one_tensor_at_density_1_comes_out_as_it_went_in(tensors):
    assert torch.equal(run(Ties(1.0), tensors[:1], [1.0]), tensors[0])


def test_options_are_checked():
    with pytest.raises(OptionError, match="density must be .* 1, but got 1.5"):
        Ties(density=1.5)
    with pytest.raises(UnknownNameError, match="majority .*did you mean 'frequency'"):
        Ties(majority="frequence")


def test_the_record_can_say_what_it_was():
    assert repr(Ties()) == "Ties(density=0.2, majority='total')"
