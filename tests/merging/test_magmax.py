"""MagMax merging of one tensor."""

import pytest
import reference
import torch

from avalanche_ham.merging import MagMax

WEIGHTS = [1.0, 0.5, -2.0]


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 6, generator=generator).double() for _ in WEIGHTS]


def run(tensors, weights, scale=1.0):
    merger = MagMax().start("layer")
    for index, (tensor, weight) in enumerate(zip(tensors, weights)):
        merger.add(tensor, weight, index)
    return merger.result(scale)


def test_the_largest_weighted_magnitude_wins(tensors):
    found = run(tensors, WEIGHTS)
    assert torch.equal(found, reference.magmax(tensors, WEIGHTS))
    for tensor, weight in zip(tensors, WEIGHTS):  # everyone wins somewhere
        assert (found == weight * tensor).any()


def test_of_equals_the_latest_wins():
    first, second = torch.tensor([[2.0, -3.0]]), torch.tensor([[-2.0, 3.0]])
    assert torch.equal(run([first, second], [1, 1]), second)
    assert torch.equal(run([second, first], [1, 1]), first)


def test_without_equals_order_does_not_matter(tensors):
    assert torch.equal(run(tensors, WEIGHTS), run(tensors[::-1], WEIGHTS[::-1]))


def test_scale_multiplies_the_winner(tensors):
    assert torch.equal(run(tensors, WEIGHTS, 0.5), 0.5 * run(tensors, WEIGHTS))


def test_one_tensor_comes_out_as_it_went_in(tensors):
    assert torch.equal(run(tensors[:1], [1.0]), tensors[0])
