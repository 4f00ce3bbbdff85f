"""A ViT as loops over images and heads, written from the equations of Vaswani et al. 2017."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def slow_attention(attn: nn.Module, x: Tensor, extra: tuple[Tensor, Tensor] | None) -> Tensor:
    """Attention of one image: tokens (L, d), head by head, query by query.

    ``extra``: keys and values (heads, P, d_h) that every query also sees.
    """
    width, size = x.shape[1], x.shape[1] // attn.num_heads
    weight, bias = attn.qkv.weight, attn.qkv.bias
    heads = []
    for h in range(attn.num_heads):
        parts = []
        for part in range(3):  # rows of the fused layer: all of q, then all of k, then of v
            rows = slice(part * width + h * size, part * width + (h + 1) * size)
            parts.append(x @ weight[rows].T + bias[rows])
        q, k, v = attn.q_norm(parts[0]), attn.k_norm(parts[1]), parts[2]
        if extra is not None:
            k, v = torch.cat([extra[0][h], k]), torch.cat([extra[1][h], v])
        outputs = []
        for query in q:
            scores = torch.stack([query @ key for key in k]) / math.sqrt(size)
            weights = scores.exp() / scores.exp().sum()
            outputs.append(sum(w * value for w, value in zip(weights, v)))
        heads.append(torch.stack(outputs))
    return F.linear(torch.cat(heads, dim=1), attn.proj.weight, attn.proj.bias)


def slow_blocks(
    vit: nn.Module,
    tokens: Tensor,
    prefix: Mapping[int, tuple[Tensor, Tensor]] = {},
    parallel: Mapping[int, object] = {},
) -> Tensor:
    """All blocks and the final norm, for one image's tokens (L, d)."""
    x = tokens
    for index, block in enumerate(vit.blocks):
        x = x + block.ls1(slow_attention(block.attn, block.norm1(x), prefix.get(index)))
        branch = block.ls2(block.mlp(block.norm2(x)))
        if index in parallel:
            branch = branch + parallel[index](x)
        x = x + branch
    return vit.norm(x)


def slow_tokens(vit: nn.Module, image: Tensor) -> Tensor:
    """Tokens (L, d) of one image (3, H, W): class token, then the patches row by row."""
    kernel, size = vit.patch_embed.proj, vit.patch_embed.patch_size[0]
    rows = [vit.cls_token[0, 0]]
    for top in range(0, image.shape[1], size):
        for left in range(0, image.shape[2], size):
            patch = image[:, top : top + size, left : left + size]
            rows.append((kernel.weight * patch).sum(dim=(1, 2, 3)) + kernel.bias)
    return torch.stack(rows) + vit.pos_embed[0]


def slow_cosine(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> / (|a| |b|)."""
    return sum(x * y for x, y in zip(a, b)) / (a.square().sum() * b.square().sum()).sqrt()
