"""SLAO's orthonormal start against Gram-Schmidt, row by row."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham.adapters.orthonormal import orthonormal_rows


def gram_schmidt(rows: list[list[float]]) -> list[list[float]]:
    """Orthonormalise rows one after the other; each keeps the direction of its own remainder."""
    found: list[list[float]] = []
    for row in rows:
        left = list(row)
        for done in found:
            along = sum(x * y for x, y in zip(row, done))
            left = [x - along * y for x, y in zip(left, done)]
        norm = sum(x * x for x in left) ** 0.5
        found.append([x / norm for x in left])
    return found


def random_a(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_rows_are_those_of_gram_schmidt():
    a = random_a(4, 9)
    torch.testing.assert_close(orthonormal_rows(a), torch.tensor(gram_schmidt(a.tolist())).double())


def test_each_of_a_batch_is_taken_for_itself():
    a = random_a(3, 4, 9)
    alone = torch.stack([orthonormal_rows(one) for one in a])
    torch.testing.assert_close(orthonormal_rows(a), alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_orthonormal_and_span_what_a_spans(dtype):
    a = random_a(5, 8).to(dtype)
    q = orthonormal_rows(a)
    assert q.dtype == dtype
    torch.testing.assert_close(q @ q.T, torch.eye(5, dtype=dtype))
    torch.testing.assert_close((a @ q.T) @ q, a)


def test_sixteen_bits_are_computed_in_thirty_two():
    a = random_a(4, 9).bfloat16()
    assert torch.equal(orthonormal_rows(a), orthonormal_rows(a.float()).bfloat16())


def test_orthonormal_rows_stay_as_they_are():
    q = orthonormal_rows(random_a(4, 9))
    torch.testing.assert_close(orthonormal_rows(q), q)


def test_a_row_without_a_direction_of_its_own_does_not_vanish():
    a = random_a(3, 6)
    a[2] = a[0]
    q = orthonormal_rows(a)
    torch.testing.assert_close(q @ q.T, torch.eye(3).double())
