"""The ViT in training: token dropping, throw-away heads for the targets, and the loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pretraining.sources import FeatureSource, ImageSource
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.backbones.hybrid import STEM_CHANNELS


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
        return Goals(*(g if g is None else share * g + (1 - share) * g[partners] for g in self))


class Student(nn.Module):
    """A ViT and one linear head per target.

    Args:
        vit: transformer with a class token and no classifier.
        classes: number of labels.
        teacher_shape: classes and feature width of the teacher, or None.
        recalls_stem: whether the class token is to tell the mean of the stem's features.
    """

    stem_mean: Tensor
    stem_std: Tensor

    def __init__(
        self,
        vit: VisionTransformer,
        classes: int,
        teacher_shape: tuple[int, int] | None,
        *,
        recalls_stem: bool = False,
    ) -> None:
        super().__init__()
        self.vit = vit
        sizes = {"labels": classes}
        if teacher_shape:
            sizes |= {"answers": teacher_shape[0], "features": teacher_shape[1]}
        if recalls_stem:
            sizes["stem"] = STEM_CHANNELS
        self.register_buffer("stem_mean", torch.zeros(STEM_CHANNELS))
        self.register_buffer("stem_std", torch.ones(STEM_CHANNELS))
        width = vit.num_features
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in sizes.items()})

    def forward(
        self,
        source: ImageSource | FeatureSource,
        inputs: Tensor,
        keep: float = 1.0,
        random: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Give each head's output, from a random share ``keep`` of the tokens.

        Of the head ``stem``, its error: the mean of the stem's features is known here alone.
        """
        maps = source.maps(self.vit, inputs)
        if maps is None:
            tokens = self.vit.patch_embed(inputs)
        else:
            tokens = self.vit.patch_embed.proj(maps).flatten(2).transpose(1, 2)
        tokens = self.vit._pos_embed(tokens)
        if keep < 1:
            tokens = drop_tokens(tokens, keep, random)
        tokens = self.vit.norm(self.vit.blocks(tokens))
        features = self.vit.forward_head(tokens, pre_logits=True)
        outputs = {name: head(features) for name, head in self.heads.items()}
        if "stem" in outputs:
            goal = (maps.float().mean((2, 3)) - self.stem_mean) / self.stem_std
            outputs["stem"] = outputs["stem"].float() - goal
        return outputs

    @torch.no_grad()
    def measure_stem(self, maps: Tensor) -> None:
        """Take mean and deviation of the stem's pooled features from ``(n, 320, h, w)``."""
        pooled = maps.float().mean((2, 3))
        self.stem_mean.copy_(pooled.mean(0))
        self.stem_std.copy_(pooled.std(0) + 1e-3)


def drop_tokens(tokens: Tensor, keep: float, random: torch.Generator | None) -> Tensor:
    """Keep the class token and a random share of the others, the same places in all images."""
    patches = tokens.shape[1] - 1
    n = max(1, round(keep * patches))
    chosen = torch.randperm(patches, generator=random)[:n].sort().values + 1
    return tokens[:, torch.cat([torch.zeros(1, dtype=torch.long), chosen]).to(tokens.device)]


def loss(outputs: dict[str, Tensor], goals: Goals, weights: tuple[float, ...]) -> Tensor:
    """Sum the errors by ``weights``: labels, teacher's answers and features, stem's features."""
    total = weights[0] * F.cross_entropy(outputs["labels"].float(), goals.labels)
    if goals.answers is not None:
        total = total + weights[1] * F.cross_entropy(outputs["answers"].float(), goals.answers)
        error = F.mse_loss(outputs["features"].float(), goals.features)
        total = total + weights[2] * error
    if "stem" in outputs:
        total = total + weights[3] * outputs["stem"].square().mean()
    return total
