"""Which vision transformers the encoder can open."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from avalanche_ham.errors import HamError

__all__ = ["FAMILIES", "check_supported", "image_channels"]

# timm's modules whose models are its plain ``VisionTransformer``
FAMILIES = ("vision_transformer", "deit", "vision_transformer_hybrid", "vitamin")


def check_supported(vit: nn.Module) -> None:
    """Say in one line why a network cannot be the backbone, before anything is built on it.

    Raises:
        HamError: if its features would not be timm's own, or could not be trained on.
    """
    reason = _reason(vit)
    if reason:
        raise HamError(f"backbone: {type(vit).__name__} cannot be used: {reason}")


def image_channels(vit: VisionTransformer) -> int | None:
    """Count the channels of the images that a ViT takes, None if nothing tells."""
    layers = vit.patch_embed.modules()  # a hybrid's first convolution is its stem's
    return next((m.in_channels for m in layers if isinstance(m, nn.Conv2d)), None)


def _reason(vit: nn.Module) -> str | None:
    if not isinstance(vit, VisionTransformer):
        return "it is not timm's VisionTransformer"
    for step in ("forward", "forward_features"):
        if getattr(type(vit), step) is not getattr(VisionTransformer, step):
            return f"it has a {step} of its own, whose steps are not known"
    if vit.global_pool == "":
        return "global_pool is '', which leaves many tokens; make it with 'token', 'avg' or 'map'"
    channels = image_channels(vit)
    if channels not in (1, 3):
        return f"it takes {channels} channels; images have 1 or 3"
    if vit.patch_embed.img_size is None:
        return "it has no image size; make it with img_size"
    kinds = {p.dtype for p in vit.parameters()} - {torch.float32}
    if kinds:
        found = str(kinds.pop()).removeprefix("torch.")
        return f"its weights are {found}; make it float32 first, with .float()"
    if any(p.is_meta for p in vit.parameters()):
        return "its weights have no values (device meta); load them first"
    return None
