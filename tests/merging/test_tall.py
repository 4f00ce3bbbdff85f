"""TALL masks and their consensus: of many tensors, and of two."""

from __future__ import annotations

import pytest
import reference
import torch

from avalanche_ham.errors import OptionError
from avalanche_ham.merging import Tall
from avalanche_ham.merging.tall import tall_mask

WEIGHTS = [1.0, 0.5, -2.0, 1.5]


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(5, 6, generator=generator, dtype=torch.float64) for _ in WEIGHTS]
    return [tensor**3 * (tensor.abs() > 0.3) for tensor in drawn]  # of all sizes, some are 0


def run(rule, tensors, weights=None, scale=1.0):
    merger = rule.start("layer")
    for index, tensor in enumerate(tensors):
        merger.add(tensor, 1.0 if weights is None else weights[index], index)
    return merger.result(scale)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.4])
def test_masks_mark_what_stands_out_of_the_others(tensors, threshold):
    total = sum(tensors)
    found = [tall_mask(tensor, total, threshold).flatten().tolist() for tensor in tensors]
    assert found == reference.tall_masks(tensors, threshold)


@pytest.mark.parametrize("threshold", [0.1, 0.4])
@pytest.mark.parametrize("least", [1, 2, 3])
def test_entries_shared_by_enough_tasks_stay(tensors, threshold, least):
    found = run(Tall(threshold, least), tensors, WEIGHTS)
    expected = reference.tall(tensors, WEIGHTS, threshold, least)
    torch.testing.assert_close(found, expected)
    assert 0 < int((found != 0).sum()) < tensors[0].numel() or least == 1


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_of_two_those_stay_that_are_of_similar_size(tensors, threshold):
    u, v = tensors[:2]
    found = run(Tall(threshold), [u, v], scale=0.5)
    torch.testing.assert_close(found, reference.tall_of_two(u, v, threshold))
    both = (u != 0) & (v != 0)
    assert 0 < int((found != 0).sum()) < int(both.sum())


def test_a_larger_threshold_keeps_less(tensors):
    kept = [int((run(Tall(t), tensors) != 0).sum()) for t in (0.0, 0.1, 0.3, 0.6)]
    assert kept == sorted(kept, reverse=True) and kept[0] > kept[-1]


def test_order_does_not_matter_and_the_scale_multiplies(tensors):
    whole = run(Tall(), tensors)
    torch.testing.assert_close(run(Tall(), tensors[::-1]), whole)
    assert torch.equal(run(Tall(), tensors, scale=0.5), 0.5 * whole)


def test_what_one_task_alone_uses_is_dropped_unless_asked_for(tensors):
    assert (run(Tall(), tensors[:1]) == 0).all()
    assert torch.equal(run(Tall(shared_by=1), tensors[:1]), tensors[0])


def test_unequal_ranks_are_filled_with_zeros(tensors):
    small, large = tensors[0][:3], tensors[1]
    padded = torch.cat([small, torch.zeros(2, 6)])
    assert torch.equal(run(Tall(), [small, large]), run(Tall(), [padded, large]))
    assert torch.equal(run(Tall(), [large, small]), run(Tall(), [large, padded]))


@pytest.mark.parametrize("options", [{"mask_threshold": -0.1}, {"shared_by": 0}])
def test_options_outside_their_range_are_refused(options):
    with pytest.raises(OptionError, match=f"{next(iter(options))} must be at least"):
        Tall(**options)
