"""What every closed-form readout is: fed task after task, without old images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Readout(nn.Module):
    """A classifier from statistics of features; it predicts once a class has been fed.

    A head trained with a local loss compares logits that were never trained against each other; a
    readout has no such gap. Subclasses add buffers, which are saved with the model, and override
    ``feed`` and ``forward``.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        seed: of whatever a readout draws.
    """

    counts: Tensor

    def __init__(self, in_features: int, n_classes: int, *, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(n_classes))  # images of each class

    @property
    def is_fed(self) -> bool:
        """Whether any class has been fed."""
        return bool(self.counts.any())

    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Take features ``(N, d)`` of classes ``(N,)`` into the statistics."""
        raise NotImplementedError

    def solution(self) -> dict[str, Tensor]:
        """Give all tensors that a prediction needs, for export."""
        return dict(self.named_buffers())
