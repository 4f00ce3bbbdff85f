"""Ridge regression on random projections, fed task after task, without old images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.errors import check_range
from avalanche_ham.heads.linear import UNSEEN
from avalanche_ham.heads.readout import Readout
from avalanche_ham.precision import back_to, in_float64
from avalanche_ham.seeding import generator

FP32 = 1e-6  # relative size of an eigenvalue that sums in fp32 cannot tell from 0


class RidgeReadout(Readout):
    """Ridge regression to one-hot targets on random ReLU projections (as in RanPAC).

    Features are scaled to unit length, projected by a fixed random matrix to
    ``h = relu(f P)``, and ``W = (H'H + lambda n I)^-1 H'Y`` is solved from the streamed
    ``H'H (M, M)`` and ``H'Y (M, n_classes)``, n being the number of images seen. Where that
    is singular, W is the shortest of its solutions: features of zeros alone score 0.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        projections: number M of random projections; 0 uses the features themselves.
        penalty: lambda, relative to the mean of the diagonal of ``H'H / n``.
        seed: of the random projections.
    """

    gram: Tensor
    moments: Tensor
    projection: Tensor

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        *,
        projections: int = 2000,
        penalty: float = 1e-2,
        seed: int = 0,
    ) -> None:
        super().__init__(in_features, n_classes, seed=seed)
        check_range("projections", projections, 0, float("inf"))
        check_range("penalty", penalty, 0.0, float("inf"), open_low=True)
        self.penalty = penalty
        self.n_projections = projections
        width = projections or in_features
        draw = torch.randn(in_features, projections, generator=generator(seed, "ridge"))
        self.register_buffer("projection", draw, persistent=False)  # follows from the seed
        self.register_buffer("gram", torch.zeros(width, width))
        self.register_buffer("moments", torch.zeros(width, n_classes))
        self._weights: Tensor | None = None

    def _lift(self, features: Tensor) -> Tensor:
        unit = F.normalize(features.to(self.gram), dim=1)
        return torch.relu(unit @ self.projection) if self.n_projections else unit

    @torch.no_grad()
    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Add features ``(N, d)`` of classes ``(N,)`` to the Gram matrix and the moments."""
        h = self._lift(features)
        self.gram.addmm_(h.T, h)
        self.moments.index_add_(1, targets, h.T)
        self.counts.index_add_(0, targets, torch.ones_like(targets, dtype=self.counts.dtype))
        self._weights = None

    def _solve(self) -> Tensor:
        if self._weights is None or self._weights.device != self.gram.device:
            scale = self.penalty * self.gram.diagonal().mean()
            system, moments = in_float64(self.gram).clone(), in_float64(self.moments)
            system.diagonal().add_(in_float64(scale))
            factor, singular = torch.linalg.cholesky_ex(system)
            if singular:  # features of zeros, or a penalty that the Gram matrix's fp32 swallows
                solved = torch.linalg.pinv(system, rtol=FP32, hermitian=True) @ moments
            else:
                solved = torch.cholesky_solve(moments, factor)
            self._weights = back_to(solved, self.gram)
        return self._weights

    def solution(self) -> dict[str, Tensor]:
        """Give all that a prediction ``relu(f / |f| P) W`` needs: ``projection``, ``weights``.

        Beside them ``counts``, the number of images of each class.
        """
        with torch.no_grad():
            weights = self._solve()
        return {"projection": self.projection, "weights": weights, "counts": self.counts}

    def forward(self, features: Tensor) -> Tensor:
        """Give regression scores ``(N, n_classes)``; classes not fed get -1e4."""
        with torch.autocast(features.device.type, enabled=False):
            scores = self._lift(features) @ self._solve()
        return scores.masked_fill(self.counts == 0, UNSEEN)

    def _load_from_state_dict(self, *args: object) -> None:
        self._weights = None
        super()._load_from_state_dict(*args)
