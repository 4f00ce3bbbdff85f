"""How class statistics move with the features, told from one task's images before and after it.

Throughout, F ``(n, d)`` holds the features of the task's images before the task and G those of the
same images after it, both of unit length and in float64. No image of an earlier task is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from avalanche_ham.errors import check_range


class Move(Protocol):
    """A rule for the statistics of old classes; a value with its options."""

    def __call__(
        self, means: Tensor, scatter: Tensor | None, before: Tensor, after: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Give class means ``(C, d)`` and scatter ``(d, d)`` as they are after the task.

        Args:
            means: before the task.
            scatter: within classes, before the task; None where nobody keeps one.
            before: F.
            after: G.
        """


def ridge_map(before: Tensor, after: Tensor, penalty: float) -> Tensor:
    """Fit the linear map that takes F to G, by ridge regression towards the identity.

    ``W = I + (F'F + l I)^-1 F' (G - F)``, the minimum of ``|F W - G|^2 + l |W - I|^2``, with
    ``l = penalty * tr(F'F) / d``. Directions that the task's images do not show stay as they are;
    a ridge towards zero would shrink them away, as there are often fewer images than features.
    DPCR and LDC fit such maps too (https://arxiv.org/abs/2503.05423,
    https://arxiv.org/abs/2407.08536).

    Args:
        before: F.
        after: G.
        penalty: lambda, above 0.

    Returns:
        W ``(d, d)``, which moves a row vector f to ``f W``; the identity if F is all zeros.

    Raises:
        OptionError: if the penalty is not above 0.
    """
    check_range("penalty", penalty, 0.0, float("inf"), open_low=True)
    identity = torch.eye(before.shape[1]).to(before)
    gram = before.T @ before
    moved = before.T @ (after - before)
    if not gram.any():
        return identity
    system = gram + penalty * gram.diagonal().mean() * identity
    factor, singular = torch.linalg.cholesky_ex(system)
    if singular:  # a penalty that rounding swallows: the shortest solution
        return identity + torch.linalg.pinv(system, hermitian=True) @ moved
    return identity + torch.cholesky_solve(moved, factor)


def mean_shift(before: Tensor, after: Tensor) -> Tensor:
    """Give the mean ``(d,)`` of ``G - F``."""
    return (after - before).mean(0)


def kernel_shift(means: Tensor, before: Tensor, after: Tensor, bandwidth: float) -> Tensor:
    """Give each class mean the drift of the images near it (SDC, Yu et al. 2020).

    The mean of ``G - F`` weighted by ``exp(-|F_i - mu|^2 / (2 bandwidth^2))``
    (https://arxiv.org/abs/2004.00440).

    Args:
        means: mu, ``(C, d)``.
        before: F.
        after: G.
        bandwidth: of the kernel, above 0, in units of unit-length features.

    Returns:
        A shift for each mean, ``(C, d)``.

    Raises:
        OptionError: if the bandwidth is not above 0.
    """
    check_range("bandwidth", bandwidth, 0.0, float("inf"), open_low=True)
    far = torch.cdist(means, before, compute_mode="donot_use_mm_for_euclid_dist").square()
    weights = torch.softmax(-far / (2 * bandwidth**2), dim=1)  # where all are far, the nearest's
    return weights @ (after - before)


@dataclass(frozen=True)
class RidgeMap:
    """Means move by ``ridge_map``: ``mu W``, the scatter with them: ``W' S W``.

    Args:
        penalty: lambda, above 0.
    """

    penalty: float = 3.0

    def __post_init__(self) -> None:
        """Check the option."""
        check_range("penalty", self.penalty, 0.0, float("inf"), open_low=True)

    def __call__(
        self, means: Tensor, scatter: Tensor | None, before: Tensor, after: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """See ``Move``."""
        w = ridge_map(before, after, self.penalty)
        return means @ w, None if scatter is None else w.T @ scatter @ w


@dataclass(frozen=True)
class MeanShift:
    """All means move by ``mean_shift``; the scatter stays."""

    def __call__(
        self, means: Tensor, scatter: Tensor | None, before: Tensor, after: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """See ``Move``."""
        return means + mean_shift(before, after), scatter


@dataclass(frozen=True)
class KernelShift:
    """Each mean moves by its ``kernel_shift``; the scatter stays.

    Args:
        bandwidth: of the kernel, above 0.
    """

    bandwidth: float = 0.3

    def __post_init__(self) -> None:
        """Check the option."""
        check_range("bandwidth", self.bandwidth, 0.0, float("inf"), open_low=True)

    def __call__(
        self, means: Tensor, scatter: Tensor | None, before: Tensor, after: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """See ``Move``."""
        return means + kernel_shift(means, before, after, self.bandwidth), scatter
