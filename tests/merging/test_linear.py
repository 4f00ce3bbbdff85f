"""Linear merging of one tensor."""

import pytest
import reference
import torch

from avalanche_ham.merging import Linear

WEIGHTS = [1.0, -0.5, 2.0]


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 6, generator=generator).double() for _ in WEIGHTS]


def run(tensors, weights, scale=1.0):
    merger = Linear().start("layer")
    for index, (tensor, weight) in enumerate(zip(tensors, weights)):
        merger.add(tensor, weight, index)
    return merger.result(scale)


def test_it_is_the_weighted_sum(tensors):
    expected = reference.linear(tensors, WEIGHTS)
    torch.testing.assert_close(run(tensors, WEIGHTS), expected)


def test_scale_multiplies_every_weight(tensors):
    expected = reference.linear(tensors, [w / 3 for w in WEIGHTS])
    torch.testing.assert_close(run(tensors, WEIGHTS, 1 / 3), expected)


def test_order_does_not_matter(tensors):
    torch.testing.assert_close(run(tensors, WEIGHTS), run(tensors[::-1], WEIGHTS[::-1]))


def test_one_tensor_comes_out_as_it_went_in(tensors):
    assert torch.equal(run(tensors[:1], [1.0]), tensors[0])


def test_a_result_is_no_window_into_the_merger(tensors):
    merger = Linear().start("layer")
    merger.add(tensors[0], 1.0, 0)
    merger.result(1.0).zero_()
    assert torch.equal(merger.result(1.0), tensors[0])
