"""Magnitude and direction of low-rank changes, told apart as SD-LoRA does.

SD-LoRA (Wu et al., ICLR 2025), Sec. 3. Everything runs on r x r products in float64; no change
is ever multiplied out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import UnknownNameError
from avalanche_ham.precision import back_to, in_float64

FORMS = ("paper", "code")
LowRankUpdate = Mapping[str, LowRank]


def product_norm(change: LowRank) -> Tensor:
    """Give ``||B A||_F``, from ``||B A||_F^2 = sum((B^T B) * (A A^T))``; float64 scalar."""
    return _inner(change, change).clamp_min(0).sqrt()


def factor_norm(change: LowRank) -> Tensor:
    """Give ``||B||_F ||A||_F``, an upper bound of ``||B A||_F``; float64 scalar."""
    return in_float64(change.a).norm() * in_float64(change.b).norm()


def direction(update: LowRankUpdate, *, pairs: int = 1, form: str = "paper") -> dict[str, LowRank]:
    """Divide every factor pair of an update by its norm (Sec. 3, the direction of B A).

    A pair that is exactly zero has no direction and stays zero.

    Args:
        update: low-rank changes ``a (R, i)``, ``b (o, R)``.
        pairs: number of equally ranked pairs in each change, such as 2 for the slots q and v
            of one fused layer; every pair has a norm of its own. Divides R.
        form: ``paper`` divides by ``||B A||_F``, ``code`` (the authors' release) by
            ``||B||_F ||A||_F``.

    Returns:
        Changes of the same shapes; A is kept, B is scaled.

    Raises:
        UnknownNameError: if there is no such form.
    """
    if form not in FORMS:
        raise UnknownNameError("form", form, FORMS)
    norm = product_norm if form == "paper" else factor_norm
    return {name: _scaled(change, pairs, norm) for name, change in update.items()}


def inner(left: LowRankUpdate, right: LowRankUpdate) -> Tensor:
    """Give ``<left, right>``, summed over all layers, as a float64 scalar on the CPU."""
    parts = [_inner(left[name], right[name]) for name in left]
    return torch.stack(parts).sum().cpu()


def extended_gram(
    gram: Tensor, directions: Sequence[LowRankUpdate], newest: LowRankUpdate
) -> Tensor:
    """Add a row and a column for ``newest`` to the inner products ``(k, k)`` of directions."""
    cross = [inner(one, newest) for one in directions]
    column = torch.stack([*cross, inner(newest, newest)])  # (k + 1,)
    top = torch.cat([gram, column[:-1, None]], dim=1)
    return torch.cat([top, column[None]])


def express(gram: Tensor) -> tuple[Tensor, float]:
    """Express the last direction by the others: ``min_c || D_t - sum_k c_k D_k ||_F^2``.

    SD-LoRA-KD's least squares (Sec. 3.3), through the normal equations.

    Args:
        gram: inner products of all directions, the one to express last, ``(k + 1, k + 1)``,
            k at least 1, float64.

    Returns:
        The coefficients c ``(k,)``, the shortest where there are several, and the squared
        residual.
    """
    known, cross, size = gram[:-1, :-1], gram[:-1, -1], gram[-1, -1]
    coefficients = torch.linalg.pinv(known, hermitian=True) @ cross
    residual = size - 2 * coefficients @ cross + coefficients @ known @ coefficients
    return coefficients, max(0.0, float(residual))


def _scaled(change: LowRank, pairs: int, norm: Callable[[LowRank], Tensor]) -> LowRank:
    """Divide each pair's B by the pair's norm."""
    columns = []
    for a, b in zip(change.a.chunk(pairs), change.b.chunk(pairs, dim=1), strict=True):
        size = norm(LowRank(a, b))
        columns.append(back_to(in_float64(b) / size, b) if size > 0 else b * 0)
    return LowRank(change.a, torch.cat(columns, dim=1))


def _inner(x: LowRank, y: LowRank) -> Tensor:
    """``<B A, B' A'> = sum((B^T B') * (A A'^T))``, in float64."""
    outputs = in_float64(x.b).T @ in_float64(y.b.to(x.b.device))  # (r, r')
    inputs = in_float64(x.a) @ in_float64(y.a.to(x.a.device)).T
    return (outputs * inputs).sum()
