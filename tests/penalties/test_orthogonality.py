"""The overlap of input directions against a loop over pairs of rows."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham.errors import UnknownNameError
from avalanche_ham.penalties import orthogonality, overlap


def factors(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


LAYERS = [
    (factors(1, 1, 2, 6), factors(2, 1, 3, 6)),
    (factors(3, 2, 2, 6), factors(4, 2, 4, 6)),  # two slots: each meets its own old rows alone
]


def loop() -> list[float]:
    found = []
    for a, old in LAYERS:
        for slot in range(len(a)):
            for row in a[slot]:
                for earlier in old[slot]:
                    found.append(abs(sum(float(x * y) for x, y in zip(row, earlier, strict=True))))
    return found


def test_sum_and_mean_are_those_of_a_loop_over_pairs_of_rows():
    expected = loop()
    assert len(expected) == 2 * 3 + 2 * 2 * 4
    assert float(orthogonality(LAYERS)) == pytest.approx(sum(expected))
    assert float(orthogonality(LAYERS, "mean")) == pytest.approx(sum(expected) / len(expected))


def test_orthogonal_rows_have_no_overlap_and_a_row_its_own_square_with_itself():
    rows = torch.linalg.qr(factors(5, 6, 6)).Q
    assert float(overlap(rows[:2], rows[2:]).max()) < 1e-12
    a = factors(6, 1, 6)
    assert float(overlap(a, a)) == pytest.approx(float(a.square().sum()))


def test_an_unknown_reduction_is_refused():
    with pytest.raises(UnknownNameError, match="reduction must be one of mean, sum"):
        orthogonality(LAYERS, "man")
