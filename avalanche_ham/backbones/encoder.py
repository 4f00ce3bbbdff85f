"""What turns images into features: a frozen ViT behind preprocessing."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from avalanche_ham.backbones.preprocess import preprocess_of
from avalanche_ham.backbones.seams import embed, run_blocks, tokens_read
from avalanche_ham.backbones.support import check_supported
from avalanche_ham.errors import HamError


class Encoding(NamedTuple):
    """What an encoder gives: features ``(N, d)`` and a penalty to add to the loss, or None."""

    features: Tensor
    penalty: Tensor | None = None


class VitEncoder(nn.Module):
    """A timm vision transformer behind on-device preprocessing.

    Args:
        vit: the transformer; a classifier is not used.

    Raises:
        HamError: if it is of a kind that cannot be used.
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        check_supported(vit)
        self.vit = vit
        self.preprocess = preprocess_of(vit)
        self.num_features: int = vit.num_features

    @property
    def adaptable(self) -> VisionTransformer:
        """What adapters attach to and fine-tuning trains; names in updates are relative to it."""
        return self.vit

    def forward(self, images: Tensor) -> Encoding:
        """Map images ``(N, C, H, W)``, uint8 or float, to their features ``(N, d)``."""
        tokens = embed(self.vit, self.preprocess(images))
        tokens = run_blocks(self.vit, tokens, keep=tokens_read(self.vit))
        return Encoding(self.vit.forward_head(tokens, pre_logits=True))


def vit_encoder(encoder: nn.Module, why: str) -> VitEncoder:
    """Give the encoder back if it is a plain ``VitEncoder``, for methods that need a ViT.

    Raises:
        HamError: if it is another one, such as a text encoder or one with prompts already.
    """
    if not isinstance(encoder, VitEncoder):
        kind = type(encoder).__name__
        raise HamError(
            f"model: for {why} its encoder must be a fresh VitEncoder, but it is a {kind}"
        )
    return encoder


def prefer_plain_attention(vit: nn.Module) -> None:
    """Use plain attention without a GPU: torch's fused one has a slow CPU backward here."""
    if not torch.cuda.is_available():
        module: Any
        for module in vit.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False
