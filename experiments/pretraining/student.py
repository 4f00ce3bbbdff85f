"""The ViT in training: token dropping, throw-away heads for the targets, and the loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pretraining.sources import FeatureSource, ImageSource
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F


class Goals(NamedTuple):
    """What a batch should give; mixed linearly where inputs are mixed.

    ``labels`` are probabilities ``(N, classes)``, ``answers`` the teacher's probabilities
    ``(N, K)`` and ``features`` its standardised pooled features ``(N, D)``, or None both.
    """

    labels: Tensor
    answers: Tensor | None = None
    features: Tensor | None = None

    def mixed(self, partners: Tensor, share: float) -> Goals:
        """Blend with the goals of ``partners`` ``(N,)``: ``share`` own, the rest theirs."""
        return Goals(
            *(g if g is None else share * g + (1 - share) * g[partners] for g in self)
        )


class Student(nn.Module):
    """A ViT and one linear head per target.

    Args:
        vit: transformer with a class token and no classifier.
        classes: number of labels.
        teacher_shape: classes and feature width of the teacher, or None.
    """

    def __init__(
        self, vit: VisionTransformer, classes: int, teacher_shape: tuple[int, int] | None
    ) -> None:
        super().__init__()
        self.vit = vit
        sizes = {"labels": classes}
        if teacher_shape:
            sizes |= {"answers": teacher_shape[0], "features": teacher_shape[1]}
        width = vit.num_features
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in sizes.items()})

    def forward(
        self,
        source: ImageSource | FeatureSource,
        inputs: Tensor,
        keep: float = 1.0,
        random: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Give each head's output, from a random share ``keep`` of the tokens."""
        tokens = self.vit._pos_embed(source.tokens(self.vit, inputs))
        if keep < 1:
            tokens = drop_tokens(tokens, keep, random)
        tokens = self.vit.norm(self.vit.blocks(tokens))
        features = self.vit.forward_head(tokens, pre_logits=True)
        return {name: head(features) for name, head in self.heads.items()}


def drop_tokens(tokens: Tensor, keep: float, random: torch.Generator | None) -> Tensor:
    """Keep the class token and a random share of the others, the same places in all images."""
    patches = tokens.shape[1] - 1
    n = max(1, round(keep * patches))
    chosen = torch.randperm(patches, generator=random)[:n].sort().values + 1
    return tokens[
        :, torch.cat([torch.zeros(1, dtype=torch.long), chosen]).to(tokens.device)
    ]


def loss(
    outputs: dict[str, Tensor], goals: Goals, weights: tuple[float, float, float]
) -> Tensor:
    """Weighted sum of cross-entropy to labels, cross-entropy to the teacher, and feature error."""
    total = weights[0] * F.cross_entropy(outputs["labels"].float(), goals.labels)
    if goals.answers is not None:
        total = total + weights[1] * F.cross_entropy(
            outputs["answers"].float(), goals.answers
        )
        error = F.mse_loss(outputs["features"].float(), goals.features)
        total = total + weights[2] * error
    return total
