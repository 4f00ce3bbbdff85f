"""A hybrid ViT: a frozen convolutional stem as patch embedding, then timm's blocks.

The stem is EfficientNet-Lite0 without its head (320 channels at stride 32), the hybrid of
Dosovitskiy et al. 2021, Sec. 3.1. Everything is built by timm, so the parameter names
(``blocks.N.attn.qkv``, ``blocks.N.mlp.fc1``, ...) are those of any timm ViT.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import timm
import torch
from timm.layers import BatchNormAct2d, HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from avalanche_ham.errors import OptionError

__all__ = [
    "STEM_CHANNELS",
    "STEM_STRIDE",
    "FrozenStem",
    "create_hybrid_vit",
    "fold_batch_norms",
]

STEM_CHANNELS = 320
STEM_STRIDE = 32


class FrozenStem(nn.Module):
    """EfficientNet-Lite0 up to its last stage: frozen weights, batch norms always in eval mode.

    Parameter names are those of timm's ``tf_efficientnet_lite0``. The weights are random until
    they are loaded.
    """

    def __init__(self) -> None:
        super().__init__()
        trunk: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        self.conv_stem = trunk.conv_stem
        self.bn1 = trunk.bn1
        self.blocks = trunk.blocks
        self.num_features = STEM_CHANNELS
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # 1.2 to 1.5 times faster on CPUs
        self.train(False)

    def train(self, mode: bool = True) -> FrozenStem:
        """Stay in eval mode whatever ``mode`` is: batches must not move frozen statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images ``(N, 3, H, W)`` to features ``(N, 320, H / 32, W / 32)``.

        Always in fp32: in bf16 its rounding alone moves accuracies by a point.
        """
        if images.shape[1] == STEM_CHANNELS:
            return images  # past the stem already, see stem_cache
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, enabled=False):
            return self.blocks(self.bn1(self.conv_stem(images)))


def create_hybrid_vit(
    *, img_size: int, depth: int, embed_dim: int, num_heads: int, num_classes: int = 0
) -> VisionTransformer:
    """Build a timm ``VisionTransformer`` whose patch embedding is a :class:`FrozenStem`.

    One token per 32 x 32 pixels, and a class token, which is the feature. Weights are random;
    those of the stem do not require gradients.

    Args:
        img_size: side of the square input in pixels, a positive multiple of 32.
        depth: number of transformer blocks, at least 1.
        embed_dim: width of the tokens, a multiple of ``num_heads``.
        num_heads: attention heads per block.
        num_classes: outputs of the head; 0 for none (the model returns features).

    Raises:
        OptionError: if ``img_size`` is not a positive multiple of 32.

    Example:
        >>> vit = create_hybrid_vit(img_size=64, depth=1, embed_dim=48, num_heads=3)
        >>> vit(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 48])
    """
    if img_size < STEM_STRIDE or img_size % STEM_STRIDE:
        raise OptionError("img_size", f"a positive multiple of {STEM_STRIDE}", img_size)
    embed = partial(
        HybridEmbed,
        backbone=FrozenStem(),
        feature_size=img_size // STEM_STRIDE,
        feature_ratio=STEM_STRIDE,
    )
    return VisionTransformer(
        img_size=img_size,
        patch_size=1,
        embed_layer=embed,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        num_classes=num_classes,
    )


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Fold each batch norm of ``network`` into the convolution before it, in place; return it.

    ``y = g (Wx - m) / s + b`` is one convolution with weight ``gW / s`` and a bias, so the outputs
    stay the same up to rounding and a forward pass gets faster. Folding twice changes nothing.
    """
    for module in list(network.modules()):
        convolution = None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                convolution = name, child
            elif isinstance(child, BatchNormAct2d) and convolution is not None:
                before, conv = convolution
                setattr(module, before, fuse_conv_bn_eval(conv, child))
                setattr(module, name, child.act)
                convolution = None
    return network
