"""Sec. 3.2.2, "Selective Pruning", and DARE's random dropping."""

import pytest
import torch
from reference import keep_top, random_update

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import OptionError
from avalanche_ham.grouping import prune_update
from avalanche_ham.magnitude import drop_and_rescale, keep_largest, largest


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.33, 0.6, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_largest_entries_stay_where_they_were(keep, dtype):
    matrix = torch.randn(7, 11, generator=seeded(0)).to(dtype)
    expected = keep_top(matrix.flatten().tolist(), round(keep * 77))
    pruned = keep_largest(matrix, keep)
    assert pruned.dtype == dtype
    assert pruned.flatten().tolist() == expected


@pytest.mark.parametrize("count", range(13))
def test_of_equal_magnitudes_the_first_stay(count):
    matrix = torch.tensor([[1.0, -2, 2, -1], [2, 1, -1, -2], [1, 1, 3, 0]])
    expected = keep_top(matrix.flatten().tolist(), count)
    assert largest(matrix, count).flatten().tolist() == expected


def test_a_constant_matrix_keeps_an_exact_count():
    assert int(keep_largest(torch.ones(50, 20), 0.37).sum()) == 370


def test_the_input_is_not_written_to():
    matrix = torch.randn(5, 5, generator=seeded(1))
    before = matrix.clone()
    keep_largest(matrix, 0.2).add_(1)
    keep_largest(matrix, 1.0).add_(1)
    assert torch.equal(matrix, before)


def test_an_empty_matrix_is_left_alone():
    assert keep_largest(torch.zeros(0, 4), 0.6).shape == (0, 4)


@pytest.mark.parametrize("keep", [-0.1, 1.1, float("nan")])
def test_keep_outside_its_range_is_an_error(keep):
    with pytest.raises(OptionError, match="keep must be at least 0 and at most 1"):
        keep_largest(torch.ones(2, 2), keep)


@pytest.mark.parametrize("count", [-1, 5])
def test_count_outside_its_range_is_an_error(count):
    with pytest.raises(OptionError, match="count must be at least 0 and at most 4"):
        largest(torch.ones(2, 2), count)


def test_each_matrix_of_an_update_has_its_own_threshold():
    update = random_update(0)
    # were the threshold shared, all of B would go and all of A stay
    update["first"] = LowRank(100 * update["first"].a, update["first"].b)
    update["dense"] = torch.randn(3, 5, generator=seeded(2))
    pruned = prune_update(update, 0.6)
    assert list(pruned) == ["first", "second", "dense"]
    for name in ("first", "second"):
        for factor, original in zip(pruned[name], update[name]):
            count = round(0.6 * original.numel())
            expected = keep_top(original.flatten().tolist(), count)
            assert factor.flatten().tolist() == expected
    assert torch.equal(pruned["dense"], keep_largest(update["dense"], 0.6))


def test_entries_are_dropped_or_rescaled():
    tensor = torch.rand(60, 50, generator=seeded(3)) + 1
    thinned = drop_and_rescale(tensor, 0.2, seeded(4))
    kept = thinned != 0
    assert torch.equal(thinned[kept], tensor[kept] / 0.2)
    assert 0.15 < kept.float().mean() < 0.25


def test_the_same_generator_state_drops_the_same():
    tensor = torch.ones(20, 20)
    first, again, other = (drop_and_rescale(tensor, 0.5, seeded(s)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_dropping_is_unbiased():
    tensor = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    source, draws = seeded(7), 4000
    mean = sum(drop_and_rescale(tensor, 0.2, source) for _ in range(draws)) / draws
    deviation = tensor.abs() * (0.8 / 0.2 / draws) ** 0.5  # of the mean
    assert ((mean - tensor).abs() < 4 * deviation).all()


@pytest.mark.parametrize("density, factor", [(0.0, 0.0), (1.0, 1.0)])
def test_densities_0_and_1_draw_nothing(density, factor):
    tensor, source = torch.randn(4, 4, generator=seeded(8)), seeded(9)
    state = source.get_state()
    thinned = drop_and_rescale(tensor, density, source)
    assert torch.equal(thinned, factor * tensor)
    assert thinned.data_ptr() != tensor.data_ptr()
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize("density", [-0.1, 20, float("nan")])
def test_density_outside_its_range_is_an_error(density):
    with pytest.raises(OptionError, match="density must be at least 0 and at most 1"):
        drop_and_rescale(torch.ones(2), density, seeded(0))
