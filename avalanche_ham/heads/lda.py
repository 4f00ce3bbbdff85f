"""Linear discriminant analysis, fed task after task, without old images."""

from __future__ import annotations

import torch
from torch import Tensor

from avalanche_ham.errors import DivergedError, check_range
from avalanche_ham.heads.linear import UNSEEN
from avalanche_ham.heads.readout import Readout
from avalanche_ham.precision import back_to, in_float64


class LinearDiscriminant(Readout):
    """Classify by class means under one covariance that all classes share.

    The score of class c is ``f R^-1 mu_c - mu_c R^-1 mu_c / 2`` with
    ``R = (1 - g) S + g tr(S) / d I``, S being the covariance within classes and g the shrinkage:
    scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=g)`` without its priors,
    which favour classes that happened to have more images (Hayes and Kanan 2020,
    https://arxiv.org/abs/1909.01520, Sec. 3).

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        shrinkage: g, in (0, 1]: how much of the covariance is replaced by a round one.
        seed: as every readout takes one; nothing here is random.
    """

    means: Tensor
    scatter: Tensor

    def __init__(
        self, in_features: int, n_classes: int, *, shrinkage: float = 0.1, seed: int = 0
    ) -> None:
        super().__init__(in_features, n_classes, seed=seed)
        check_range("shrinkage", shrinkage, 0.0, 1.0, open_low=True)
        self.shrinkage = shrinkage
        self.register_buffer("means", torch.zeros(n_classes, in_features))
        self.register_buffer("scatter", torch.zeros(in_features, in_features))  # about the means

    @torch.no_grad()
    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Take features ``(N, d)`` of classes ``(N,)`` into means and scatter.

        Scatter about the means of this part and means that move are added apart (Chan, Golub and
        LeVeque 1983), as the difference of two large sums would lose digits.
        """
        f = features.to(self.means)
        count = torch.bincount(targets, minlength=len(self.counts)).to(f)
        total = (self.counts + count).clamp(min=1)
        mean = torch.zeros_like(self.means).index_add_(0, targets, f) / count.clamp(min=1)[:, None]
        within, step = f - mean[targets], mean - self.means
        self.scatter.addmm_(within.T, within)
        self.scatter.addmm_(step.T * (self.counts * count / total), step)
        self.means += step * (count / total)[:, None]
        self.counts += count
        self._solved = None

    def solution(self) -> dict[str, Tensor]:
        """Give all that a prediction ``f weights + bias`` needs, and the images of each class."""
        weights, bias = self._solve()
        return {"weights": weights, "bias": bias, "counts": self.counts}

    def _solve(self) -> tuple[Tensor, Tensor]:
        if self._solved is None:
            self._solved = self._discriminants()
        return self._solved

    def _discriminants(self) -> tuple[Tensor, Tensor]:
        means = in_float64(self.means)
        shared = in_float64(self.scatter) / in_float64(self.counts.sum().clamp(min=1))
        if not shared.any():  # an image a class, or the same ones: nothing but distances is known
            shared = torch.eye(len(shared)).to(shared)
        spread = shared.diagonal().mean()
        shared = (1 - self.shrinkage) * shared
        shared.diagonal().add_(self.shrinkage * spread)
        factor, failed = torch.linalg.cholesky_ex(shared)
        if failed:
            raise DivergedError(
                "lda: the covariance of the features cannot be inverted: some are not finite, or "
                f"shrinkage ({self.shrinkage:g}) is too small"
            )
        weights = torch.cholesky_solve(means.T, factor)
        bias = -(means * weights.T).sum(1) / 2
        return back_to(weights, self.means), back_to(bias, self.means)

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Give scores ``(N, n_classes)``; classes not fed get -1e4."""
        weights, bias = self._solve()
        with torch.autocast(features.device.type, enabled=False):
            scores = features.to(weights) @ weights + bias
        return scores.masked_fill(self.counts == 0, UNSEEN)
