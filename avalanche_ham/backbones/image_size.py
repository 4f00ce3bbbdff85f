"""Another image size for a vision transformer: its position embeddings are resampled."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from avalanche_ham.errors import OptionError

LARGEST_SIDE = 2**15  # pixels

__all__ = ["match_position_grid", "pixels_per_token", "set_image_size"]


def pixels_per_token(vit: VisionTransformer) -> int:
    """Give the side of the square of pixels that one token stands for: patch size or stride."""
    embed: Any = vit.patch_embed
    return int(embed.feat_ratio())


def set_image_size(vit: nn.Module, image_size: int | None) -> None:
    """Let a ViT take square images of another size, in place, as timm's ``set_input_size`` does.

    The learned position embeddings are resampled (bicubic, antialiased), so they must have been
    loaded before. All other weights stay.

    Args:
        vit: the transformer, with its weights.
        image_size: height and width in pixels, a positive multiple of the patch size (of the
            stem's stride in a hybrid ViT); None leaves the size as it is.

    Raises:
        OptionError: if the patch size does not divide it, or if the network has no such sizes.
    """
    if image_size is None:
        return
    if not isinstance(vit, VisionTransformer):
        raise OptionError("image_size", f"None for a {type(vit).__name__}", image_size)
    step = pixels_per_token(vit)
    whole = isinstance(image_size, int) and not isinstance(image_size, bool)
    if not whole or not step <= image_size < LARGEST_SIDE or image_size % step:
        allowed = f"a positive multiple of {step} (this backbone's patch size) below {LARGEST_SIDE}"
        raise OptionError("image_size", allowed, image_size)
    with torch.no_grad():
        vit.set_input_size(img_size=(image_size, image_size))


def match_position_grid(vit: VisionTransformer, positions: Tensor | None) -> int | None:
    """Size a ViT for position embeddings of another image size, so that they can be loaded.

    Args:
        vit: the transformer, changed in place.
        positions: stored position embeddings, shape ``(1, L, d)``, or None.

    Returns:
        The image size it had, to be set again when the weights are loaded; None if the position
        embeddings fit as they are or are none of a square grid.
    """
    own = vit.pos_embed
    if own is None or positions is None or positions.ndim != 3 or positions.shape == own.shape:
        return None
    prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    side = math.isqrt(max(positions.shape[1] - prefix, 0))
    height, width = vit.patch_embed.img_size
    if side < 1 or side**2 != positions.shape[1] - prefix or height != width:
        return None
    set_image_size(vit, side * pixels_per_token(vit))
    return height
