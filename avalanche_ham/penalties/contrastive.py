"""Supervised contrastive loss: images of a class near each other, those of others further off."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def supervised_contrastive(
    features: Tensor, targets: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """Give the loss of Khosla et al. 2020, Eq. 2 (https://arxiv.org/abs/2004.11362), in fp32.

    Args:
        features: of a batch, ``(N, d)``; their lengths do not matter.
        targets: classes ``(N,)``.
        temperature: above 0; the smaller, the more the nearest images count.

    Returns:
        The mean over images that have another one of their class; 0 where none has.
    """
    z = F.normalize(features.float() if features.dtype.itemsize < 4 else features, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    share = (z @ z.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    alike = (targets[:, None] == targets) & ~itself
    count = alike.sum(1)
    losses = -share.masked_fill(~alike, 0.0).sum(1) / count.clamp(min=1)
    return losses.sum() / (count > 0).sum().clamp(min=1)
