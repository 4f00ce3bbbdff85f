"""A timm ViT opened at three seams: among its tokens, in its attention, beside its MLPs.

With nothing put into the seams the outputs are timm's ``forward_features``, bit for bit. All
parts are called through timm's own modules, so any patch embedding and any adapted linear fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from avalanche_ham.errors import HamError, OptionError

__all__ = ["Parallel", "Prefix", "embed", "insert_prompts", "run_blocks", "tokens_read"]

# block -> keys and values, each (N or 1, heads, P, d_h)
Prefix = Mapping[int, tuple[Tensor, Tensor]]
# block -> function of the hidden state, (N, L, d) -> (N, L, d)
Parallel = Mapping[int, Callable[[Tensor], Tensor]]


def embed(vit: VisionTransformer, images: Tensor, prompts: Tensor | None = None) -> Tensor:
    """Give the tokens that enter the first block, with prompts among them if there are any.

    Args:
        vit: the transformer.
        images: normalised images of the size it takes, shape ``(N, 3, H, W)``.
        prompts: see ``insert_prompts``.

    Returns:
        Tokens, shape ``(N, L, d)``, or ``(N, L + P, d)`` with P prompts.
    """
    tokens = vit.patch_drop(vit._pos_embed(vit.patch_embed(images)))
    tokens = vit.norm_pre(tokens)
    return tokens if prompts is None else insert_prompts(vit, tokens, prompts)


def insert_prompts(vit: VisionTransformer, tokens: Tensor, prompts: Tensor) -> Tensor:
    """Put prompts between the class token and the patch tokens.

    As in L2P's PyTorch port, each prompt gets the class token's position embedding, frozen
    (Wang et al., CVPR 2022, Sec. 4: the prompts are prepended to the embedded input). A ViT
    whose position embedding leaves the class token out gives them none.

    Args:
        vit: the transformer.
        tokens: from ``embed``, shape ``(N, L, d)``.
        prompts: shape ``(N, P, d)``.

    Returns:
        Tokens ``(N, L + P, d)``; the prompts stand from ``vit.num_prefix_tokens`` on.
    """
    if vit.pos_embed is not None and vit.cls_token is not None and not vit.no_embed_class:
        prompts = prompts + vit.pos_embed[:, :1]
    prompts = vit.norm_pre(vit.pos_drop(prompts)).to(tokens.dtype)
    first = vit.num_prefix_tokens  # class token and registers
    return torch.cat([tokens[:, :first], prompts, tokens[:, first:]], dim=1)


def tokens_read(vit: VisionTransformer, prompts: int = 0) -> int | None:
    """Give how many leading tokens the features are read from; None if from all of them.

    Where a head reads the class token alone, nobody reads the other tokens that leave the last
    block, so ``run_blocks(..., keep=...)`` need not put them through its MLP: same features and
    gradients, 11 % fewer operations at depth 6 and 6 % at depth 12.

    Args:
        vit: the transformer.
        prompts: number of prompts after the class token that are read as well.
    """
    standard = type(vit.blocks[-1]) is Block and vit.attn_pool is None
    reads_class = standard and vit.global_pool == "token"
    return vit.num_prefix_tokens + prompts if reads_class else None


def run_blocks(
    vit: VisionTransformer,
    tokens: Tensor,
    *,
    prefix: Prefix | None = None,
    parallel: Parallel | None = None,
    keep: int | None = None,
) -> Tensor:
    """Run all blocks and the final norm.

    Args:
        vit: the transformer.
        tokens: from ``embed``, shape ``(N, L, d)``.
        prefix: block index -> further keys and values, each ``(N, heads, P, d_h)`` or with 1
            in the place of N for a prefix that all images share. They stand before the
            block's own, as they are (a ``k_norm`` does not touch them); queries, and so the
            length of the sequence, stay (prefix tuning; Wang et al., ECCV 2022, Sec. 4).
        parallel: block index -> function of the hidden state after the attention's residual
            ``(N, L, d)``, whose result is added to the MLP branch:
            ``x + MLP(norm(x)) + f(x)``.
        keep: number of leading tokens that are wanted, see ``tokens_read``; the last block's
            MLP and ``parallel`` see only these. None keeps all.

    Returns:
        Normalised tokens, shape ``(N, L, d)``, or ``(N, keep, d)``.

    Raises:
        OptionError: if there is no such block.
        HamError: if a block that is to be opened is not of timm's standard kind.
    """
    prefix, parallel = prefix or {}, parallel or {}
    for index in {*prefix, *parallel}:
        _check_block(vit, index, with_prefix=index in prefix)
    saves_memory = vit.grad_checkpointing and torch.is_grad_enabled()
    for index, block in enumerate(vit.blocks):
        step: Callable[[Tensor], Tensor] = block
        cut = keep if index == len(vit.blocks) - 1 else None
        if index in prefix or index in parallel or cut is not None:
            rows, branch = prefix.get(index), parallel.get(index)
            step = partial(_run_block, block, prefix=rows, parallel=branch, keep=cut)
        if saves_memory:
            tokens = checkpoint(step, tokens, use_reentrant=False)
        else:
            tokens = step(tokens)
    return vit.norm(tokens)


def _check_block(vit: VisionTransformer, index: int, *, with_prefix: bool) -> None:
    if not 0 <= index < len(vit.blocks):
        raise OptionError("block", f"from 0 to {len(vit.blocks) - 1}", index)
    block = vit.blocks[index]
    standard = isinstance(block, Block)
    if not standard or (with_prefix and not isinstance(block.attn, Attention)):
        kind = type(block.attn if standard else block).__name__
        raise HamError(f"backbone: block {index} cannot be opened, it has a {kind}")


def _run_block(
    block: Any,
    x: Tensor,
    *,
    prefix: tuple[Tensor, Tensor] | None,
    parallel: Callable[[Tensor], Tensor] | None,
    keep: int | None,
) -> Tensor:
    """Do what ``block(x)`` does, ``(N, L, d) -> (N, L, d)``, with its seams filled."""
    hidden = block.norm1(x)
    attended = block.attn(hidden) if prefix is None else _attend(block.attn, hidden, *prefix)
    x = x + block.drop_path1(block.ls1(attended))
    x = x[:, :keep]
    branch = block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
    if parallel is not None:
        branch = branch + parallel(x)
    return x + branch


def _attend(attn: Any, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Do what ``attn(x)`` does, with further keys and values before its own."""
    count, length, _ = x.shape
    qkv = attn.qkv(x).reshape(count, length, 3, attn.num_heads, attn.head_dim)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (N, heads, L, d_h)
    q, k = attn.q_norm(q), attn.k_norm(k)
    k, v = _prepend(keys, k), _prepend(values, v)  # (N, heads, P + L, d_h)
    if attn.fused_attn:
        rate = attn.attn_drop.p if attn.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
    else:
        scores = (q * attn.scale) @ k.transpose(-2, -1)  # (N, heads, L, P + L)
        mixed = attn.attn_drop(scores.softmax(dim=-1)) @ v
    mixed = attn.norm(mixed.transpose(1, 2).flatten(2))  # (N, L, heads * d_h)
    gate: nn.Module | None = getattr(attn, "gate", None)  # newer timm only
    if gate is not None:
        mixed = mixed * gate(x).sigmoid()
    return attn.proj_drop(attn.proj(mixed))


def _prepend(prefix: Tensor, own: Tensor) -> Tensor:
    # Cast on purpose: left to itself, cat would widen 16-bit keys and slow the attention down.
    return torch.cat([prefix.to(own.dtype).expand(len(own), -1, -1, -1), own], dim=2)
