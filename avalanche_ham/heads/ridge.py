"""Ridge regression on random projections, fed task after task, without old images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.errors import check_range, check_whole
from avalanche_ham.heads.linear import UNSEEN
from avalanche_ham.heads.readout import Readout
from avalanche_ham.precision import back_to, in_float64
from avalanche_ham.seeding import generator

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # below, single precision is lost in the solution
FIRST_PENALTY = 1e-2
HELD_OUT = 5  # every fifth image
FP32 = 1e-6  # relative size of an eigenvalue that sums in fp32 cannot tell from 0


class RidgeReadout(Readout):
    """Ridge regression to one-hot targets on random ReLU projections (as in RanPAC).

    Features are scaled to unit length, projected by a fixed random matrix to
    ``h = relu(f P)``, and ``W = (H'H + lambda n I)^-1 H'Y`` is solved from the streamed
    ``H'H (M, M)`` and ``H'Y (M, n_classes)``, n being the number of images seen. Where that
    is singular, W is the shortest of its solutions: features of zeros alone score 0.

    Without a penalty of your own, one is chosen after every task as in RanPAC (McDonnell et al.
    2023, https://arxiv.org/abs/2307.02251, Sec. 4): every fifth image of the task is held out, the
    penalty of ``PENALTIES`` with the smallest squared error on them is kept, and they are added.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        projections: number M of random projections, at least 0; 0 uses the features themselves.
        penalty: lambda above 0, relative to the mean of the diagonal of ``H'H / n``; None
            chooses it on held-out images of each task.
        seed: of the random projections.
    """

    gram: Tensor
    moments: Tensor
    projection: Tensor
    chosen: Tensor

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        *,
        projections: int = 2000,
        penalty: float | None = FIRST_PENALTY,
        seed: int = 0,
    ) -> None:
        super().__init__(in_features, n_classes, seed=seed)
        check_whole("projections", projections, 0)
        if penalty is None:
            self.register_buffer("chosen", torch.zeros(()))  # 0: none yet
        else:
            check_range("penalty", penalty, 0.0, float("inf"), open_low=True)
        self.penalty = penalty
        self.n_projections = projections
        width = projections or in_features
        draw = torch.randn(in_features, projections, generator=generator(seed, "ridge"))
        self.register_buffer("projection", draw, persistent=False)  # follows from the seed
        self.register_buffer("gram", torch.zeros(width, width))
        self.register_buffer("moments", torch.zeros(width, n_classes))
        self._held: list[tuple[Tensor, Tensor]] = []  # images of the task that choose the penalty
        self._n_fed = 0  # images of the task

    def _lift(self, features: Tensor) -> Tensor:
        unit = F.normalize(features.to(self.gram), dim=1)
        return torch.relu(unit @ self.projection) if self.n_projections else unit

    @torch.no_grad()
    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Add features ``(N, d)`` of classes ``(N,)`` to the Gram matrix and the moments."""
        h = self._lift(features)
        self.counts.index_add_(0, targets, torch.ones_like(targets, dtype=self.counts.dtype))
        if self.penalty is None:
            places = torch.arange(self._n_fed, self._n_fed + len(h), device=h.device)
            self._n_fed += len(h)
            held = places % HELD_OUT == HELD_OUT - 1
            self._held.append((h[held], targets[held]))
            h, targets = h[~held], targets[~held]
        self._add(h, targets)

    def _add(self, h: Tensor, targets: Tensor) -> None:
        self.gram.addmm_(h.T, h)
        self.moments.index_add_(1, targets, h.T)
        self._solved = None

    @torch.no_grad()
    def settle(self) -> None:
        """Choose the penalty on the held-out images of the task, then add them too."""
        if not self._held:
            return
        h, targets = map(torch.cat, zip(*self._held, strict=True))
        self._held, self._n_fed = [], 0
        if len(h):
            wanted = F.one_hot(targets, len(self.counts)).to(h)
            solved = ((p, self._weights(p)) for p in PENALTIES)
            errors = {p: (h @ w - wanted).square().mean() for p, w in solved if w is not None}
            if errors:  # none for features of zeros
                self.chosen.fill_(min(errors, key=lambda p: float(errors[p])))
        self._add(h, targets)

    def _system(self, penalty: float) -> tuple[Tensor, Tensor]:
        system = in_float64(self.gram).clone()
        system.diagonal().add_(penalty * in_float64(self.gram.diagonal().mean()))
        return system, in_float64(self.moments)

    def _weights(self, penalty: float) -> Tensor | None:
        """Solve for the weights, None where rounding has left nothing to solve."""
        system, moments = self._system(penalty)
        factor, singular = torch.linalg.cholesky_ex(system)
        return None if singular else back_to(torch.cholesky_solve(moments, factor), self.gram)

    def _solve(self) -> Tensor:
        self.settle()
        if self._solved is None:
            penalty = self.penalty or float(self.chosen) or FIRST_PENALTY
            weights = self._weights(penalty)
            if weights is None:  # features of zeros, or a penalty that the Gram's fp32 swallows
                system, moments = self._system(penalty)
                inverse = torch.linalg.pinv(system, rtol=FP32, hermitian=True)
                weights = back_to(inverse @ moments, self.gram)
            self._solved = weights
        return self._solved

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

    def _load_from_state_dict(self, *args: Any) -> None:
        self._held, self._n_fed = [], 0
        super()._load_from_state_dict(*args)
