"""How statistics move, against loops, the optimum of the stated objective, and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from avalanche_ham.errors import OptionError
from avalanche_ham.heads.drift import (
    KernelShift,
    MeanShift,
    RidgeMap,
    kernel_shift,
    mean_shift,
    ridge_map,
)


def unit(n: int, d: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=draw, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True)


def rotation(d: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=draw, dtype=torch.float64))[0]


def solved(system: list[list[float]], right: list[list[float]]) -> list[list[float]]:
    """Gauss and Jordan, number by number."""
    n, rows = len(system), [a[:] + b[:] for a, b in zip(system, right, strict=True)]
    for i in range(n):
        best = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[best] = rows[best], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [x - rows[r][i] * y for x, y in zip(rows[r], rows[i], strict=True)]
    return [row[n:] for row in rows]


def looped_map(before, after, penalty: float) -> torch.Tensor:
    """``I + (F'F + l I)^-1 F' (G - F)`` by loops over single numbers."""
    f, g = before.tolist(), after.tolist()
    n, d = len(f), len(f[0])
    gram = [[sum(f[k][i] * f[k][j] for k in range(n)) for j in range(d)] for i in range(d)]
    moved = [
        [sum(f[k][i] * (g[k][j] - f[k][j]) for k in range(n)) for j in range(d)] for i in range(d)
    ]
    least = penalty * sum(gram[i][i] for i in range(d)) / d
    system = [[gram[i][j] + least * (i == j) for j in range(d)] for i in range(d)]
    found = solved(system, moved)
    whole = [[found[i][j] + (i == j) for j in range(d)] for i in range(d)]
    return torch.tensor(whole, dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 4, 20])  # fewer images than features, and more
@pytest.mark.parametrize("penalty", [0.03, 3.0])
def test_the_map_is_the_formula_number_by_number(n, penalty):
    before, after = unit(n, 5, seed=1), unit(n, 5, seed=2)
    expected = looped_map(before, after, penalty)
    found = ridge_map(before, after, penalty)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    assert (expected - torch.eye(5)).abs().max() > 0.01


def test_it_is_scikit_learns_ridge_of_the_change():
    before, after = unit(30, 6, seed=1), unit(30, 6, seed=2)
    strength = 2.0 * float((before.T @ before).diagonal().mean())
    oracle = Ridge(alpha=strength, fit_intercept=False).fit(
        before.numpy(), (after - before).numpy()
    )
    expected = np.eye(6) + oracle.coef_.T
    np.testing.assert_allclose(ridge_map(before, after, 2.0).numpy(), expected, atol=1e-10)


def test_a_large_penalty_moves_nothing():
    before, after = unit(30, 6, seed=1), unit(30, 6, seed=2)
    found = ridge_map(before, after, 1e12)
    torch.testing.assert_close(found, torch.eye(6).double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("penalty", [1e-6, 1e-12, 1e-300])
def test_of_more_images_than_features_a_rotation_is_recovered_as_the_penalty_vanishes(penalty):
    before, turn = unit(40, 8, seed=1), rotation(8)
    found = ridge_map(before, before @ turn, penalty)
    torch.testing.assert_close(found, turn, rtol=0, atol=20 * max(penalty, 1e-14))


@pytest.mark.parametrize("penalty", [1e-6, 1e-40])  # rounding swallows the second
def test_of_fewer_images_a_rotation_is_recovered_where_they_are_and_nothing_else_moves(penalty):
    before, turn = unit(3, 8, seed=1), rotation(8)
    found = ridge_map(before, before @ turn, penalty)
    torch.testing.assert_close(before @ found, before @ turn, rtol=0, atol=1e-4)
    beside = torch.linalg.svd(before)[2][3:]  # what no image shows
    torch.testing.assert_close(beside @ found, beside, rtol=0, atol=1e-8)


def test_features_that_did_not_move_give_the_identity_exactly():
    before = unit(20, 6, seed=1)
    assert torch.equal(ridge_map(before, before.clone(), 3.0), torch.eye(6).double())
    assert torch.equal(mean_shift(before, before.clone()), torch.zeros(6).double())


def test_features_of_zeros_move_nothing():
    zeros = torch.zeros(4, 6, dtype=torch.float64)
    assert torch.equal(ridge_map(zeros, unit(4, 6, seed=2), 3.0), torch.eye(6).double())


def test_the_mean_shift_is_a_loop():
    before, after = unit(7, 3, seed=1), unit(7, 3, seed=2)
    expected = [sum(float(after[i, j] - before[i, j]) for i in range(7)) / 7 for j in range(3)]
    assert mean_shift(before, after).tolist() == pytest.approx(expected)


def test_the_kernel_shift_is_a_loop():
    means, before, after = unit(4, 3, seed=3), unit(7, 3, seed=1), unit(7, 3, seed=2)
    for mean, shift in zip(means, kernel_shift(means, before, after, 0.4), strict=True):
        weights = [math.exp(-sum((f - mean) ** 2) / (2 * 0.4**2)) for f in before]
        pairs = zip(weights, after - before, strict=True)
        expected = sum(w * change for w, change in pairs) / sum(weights)
        torch.testing.assert_close(shift, expected)


def test_the_kernels_limits_are_the_mean_shift_and_the_nearest_image():
    means, before, after = unit(4, 3, seed=3), unit(7, 3, seed=1), unit(7, 3, seed=2)
    wide = kernel_shift(means, before, after, 1e6)
    torch.testing.assert_close(wide, mean_shift(before, after).expand(4, 3))
    nearest = (after - before)[torch.cdist(means, before).argmin(1)]
    narrow = kernel_shift(means, before, after, 1e-4)  # every weight underflows
    torch.testing.assert_close(narrow, nearest)


def test_the_rules_move_means_and_scatter_as_their_functions_say():
    means, before, after = unit(4, 3, seed=3), unit(9, 3, seed=1), unit(9, 3, seed=2)
    scatter = before.T @ before
    w = ridge_map(before, after, 0.5)
    moved, turned = RidgeMap(0.5)(means, scatter, before, after)
    for one, mean in zip(moved, means, strict=True):
        torch.testing.assert_close(one, w.T @ mean)
    torch.testing.assert_close(turned, (before @ w).T @ (before @ w))
    assert RidgeMap(0.5)(means, None, before, after)[1] is None
    moved, same = MeanShift()(means, scatter, before, after)
    assert torch.equal(moved, means + mean_shift(before, after)) and same is scatter
    moved, same = KernelShift(0.4)(means, scatter, before, after)
    assert torch.equal(moved, means + kernel_shift(means, before, after, 0.4)) and same is scatter


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_options_outside_their_range_are_refused(value):
    f = unit(4, 3, seed=1)
    for wrong in (lambda: ridge_map(f, f, value), lambda: RidgeMap(value)):
        with pytest.raises(OptionError, match="penalty must be above 0"):
            wrong()
    for wrong in (lambda: kernel_shift(f, f, f, value), lambda: KernelShift(value)):
        with pytest.raises(OptionError, match="bandwidth must be above 0"):
            wrong()
