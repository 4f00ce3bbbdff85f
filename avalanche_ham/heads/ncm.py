"""Nearest class mean, fed task after task, without old images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.heads.linear import UNSEEN
from avalanche_ham.heads.readout import Readout


class NearestClassMean(Readout):
    """Classify by the cosine between a feature and the class means.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        seed: as every readout takes one; nothing here is random.
    """

    sums: Tensor

    def __init__(self, in_features: int, n_classes: int, *, seed: int = 0) -> None:
        super().__init__(in_features, n_classes, seed=seed)
        self.register_buffer("sums", torch.zeros(n_classes, in_features))

    def solution(self) -> dict[str, Tensor]:
        """Give all that a prediction needs: ``means (n_classes, d)`` of length 1, ``counts``."""
        return {"means": F.normalize(self.sums, dim=1), "counts": self.counts}

    @torch.no_grad()
    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Add features ``(N, d)`` of classes ``(N,)`` to the class means."""
        self.counts.index_add_(0, targets, torch.ones_like(targets, dtype=self.counts.dtype))
        self.sums.index_add_(0, targets, features.to(self.sums))

    def forward(self, features: Tensor) -> Tensor:
        """Give cosines ``(N, n_classes)`` in [-1, 1]; classes not fed get -1e4."""
        means = F.normalize(self.sums, dim=1)
        with torch.autocast(features.device.type, enabled=False):
            scores = F.normalize(features.to(means), dim=1) @ means.T
        return scores.masked_fill(self.counts == 0, UNSEEN)
