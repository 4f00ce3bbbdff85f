"""The seams of the ViT: empty ones change no bit, filled ones equal slow loops."""

from __future__ import annotations

import pytest
import torch
from slow_vit import slow_blocks, slow_tokens
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import nn

from avalanche_ham.backbones.hybrid import create_hybrid_vit
from avalanche_ham.backbones.seams import (
    embed,
    insert_prompts,
    run_blocks,
    tokens_read,
)
from avalanche_ham.errors import HamError, OptionError

KINDS = {
    "plain": {},
    "qk_norm": {"qk_norm": True},
    "layer_scale": {"init_values": 0.5},
    "registers": {"reg_tokens": 2, "no_embed_class": True},
    "pre_norm": {"pre_norm": True},
    "average": {"global_pool": "avg", "class_token": False},
}


def make_vit(kind: str = "plain", *, fused: bool = False, **options) -> VisionTransformer:
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=12, depth=3, num_heads=3, num_classes=0,
        **KINDS[kind], **options,
    )  # fmt: skip
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.3)
    for module in vit.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    return vit.eval().requires_grad_(False)


def draw(*shape: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def draw_prefix(count: int, rows: int = 2, dtype=torch.float32) -> dict:
    shape = (count, 3, rows, 4)  # (N, heads, P, d_h)
    return {
        block: tuple(draw(*shape, seed=10 * block + s, dtype=dtype) for s in range(2))
        for block in (0, 2)
    }


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_empty_seams_change_no_bit(kind, bf16, fused):
    vit, images = make_vit(kind, fused=fused), draw(4, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        expected = vit.forward_features(images)
        assert torch.equal(run_blocks(vit, embed(vit, images)), expected)
        none = torch.zeros(4, 3, 0, 4)  # every block opened, with nothing to put in
        filled = dict.fromkeys(range(3), (none, none))
        silent = dict.fromkeys(range(3), torch.zeros_like)
        opened = run_blocks(vit, embed(vit, images), prefix=filled, parallel=silent)
    assert opened.dtype == expected.dtype
    assert torch.equal(opened, expected)


def test_empty_seams_change_no_bit_of_a_hybrid():
    torch.manual_seed(0)
    vit = create_hybrid_vit(img_size=64, depth=2, embed_dim=12, num_heads=3).eval()
    images = draw(2, 3, 64, 64)
    assert torch.equal(run_blocks(vit, embed(vit, images)), vit.forward_features(images))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", ["plain", "qk_norm", "layer_scale"])
def test_filled_seams_equal_a_loop_over_images_and_heads(kind, fused):
    vit = make_vit(kind, fused=fused).double()
    images, prompts = draw(2, 3, 8, 8, dtype=torch.float64), draw(2, 3, 12, dtype=torch.float64)
    prefix, branch = draw_prefix(2, dtype=torch.float64), nn.Linear(12, 12).double()
    tokens = embed(vit, images, prompts)
    actual = run_blocks(vit, tokens, prefix=prefix, parallel={1: branch, 2: branch})
    for n, image in enumerate(images):
        plain = slow_tokens(vit, image)
        slots = torch.stack([prompt + vit.pos_embed[0, 0] for prompt in prompts[n]])
        own = {b: (k[n], v[n]) for b, (k, v) in prefix.items()}
        tokens = torch.cat([plain[:1], slots, plain[1:]])
        expected = slow_blocks(vit, tokens, own, {1: branch, 2: branch})
        torch.testing.assert_close(actual[n], expected)


@pytest.mark.parametrize("fused", [True, False])
def test_prefixes_hold_under_bf16(fused):
    vit, images, prefix = (
        make_vit(fused=fused),
        draw(4, 3, 8, 8),
        draw_prefix(4, rows=5),
    )
    exact = run_blocks(vit, embed(vit, images), prefix=prefix)
    seen = []
    handle = vit.blocks[0].attn.proj.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = run_blocks(vit, embed(vit, images), prefix=prefix).float()
    handle.remove()
    without = vit.forward_features(images)
    assert seen[0].dtype == torch.bfloat16  # fp32 prefixes do not widen the attention
    assert (rounded - exact).norm() < 0.05 * (without - exact).norm()


def test_a_shared_prefix_equals_one_for_each_image():
    vit, images, shared = make_vit(), draw(4, 3, 8, 8), draw_prefix(1)
    repeated = {b: tuple(t.repeat(4, 1, 1, 1) for t in pair) for b, pair in shared.items()}
    tokens = embed(vit, images)
    one, each = (run_blocks(vit, tokens, prefix=p) for p in (shared, repeated))
    assert torch.equal(one, each)
    assert not torch.allclose(one, vit.forward_features(images))


def test_prompts_stand_behind_class_token_and_registers():
    vit = make_vit("registers")
    tokens, prompts = embed(vit, draw(2, 3, 8, 8)), draw(2, 4, 12)
    longer = insert_prompts(vit, tokens, prompts)
    assert torch.equal(longer[:, :3], tokens[:, :3])
    assert torch.equal(longer[:, 3:7], prompts)  # no position: the class token has none either
    assert torch.equal(longer[:, 7:], tokens[:, 3:])


def test_checkpointing_gives_the_same_gradients():
    gradients = []
    for saves_memory in (False, True):
        vit, prompts = make_vit(), draw(4, 2, 12).requires_grad_()
        keys = draw(4, 3, 2, 4).requires_grad_()
        vit.set_grad_checkpointing(saves_memory)
        tokens = embed(vit, draw(4, 3, 8, 8), prompts)
        run_blocks(vit, tokens, prefix={1: (keys, keys)}).square().sum().backward()
        gradients.append((prompts.grad, keys.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_block_that_is_not_there_is_an_error():
    vit = make_vit()
    with pytest.raises(OptionError, match="from 0 to 2, but got 3"):
        run_blocks(vit, embed(vit, draw(1, 3, 8, 8)), prefix={3: (draw(1), draw(1))})


def test_a_block_of_another_kind_is_an_error():
    vit = make_vit(block_fn=ParallelScalingBlock)
    images = draw(2, 3, 8, 8)
    assert torch.equal(run_blocks(vit, embed(vit, images)), vit.forward_features(images))
    with pytest.raises(HamError, match="ParallelScalingBlock"):
        run_blocks(vit, embed(vit, images), parallel={0: torch.zeros_like})


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_tokens_that_are_read_pass_the_last_mlp(kind, fused):
    vit, images = make_vit(kind, fused=fused), draw(4, 3, 8, 8)
    vit.requires_grad_(True)
    rows: list[torch.Size] = []
    vit.blocks[-1].mlp.register_forward_hook(lambda m, x, y: rows.append(x[0].shape))
    keep = tokens_read(vit)
    found = []
    for short in (None, keep):
        vit.zero_grad()
        tokens = run_blocks(vit, embed(vit, images), keep=short)
        features = vit.forward_head(tokens, pre_logits=True)
        (features * draw(*features.shape, seed=5)).sum().backward()
        gradients = [p.grad.clone() for p in vit.parameters() if p.grad is not None]
        found.append((features, gradients))
    (features, gradients), (short_features, short_gradients) = found
    torch.testing.assert_close(short_features, features, rtol=1e-5, atol=1e-6)
    assert len(gradients) == len(short_gradients) > 10
    for one, other in zip(gradients, short_gradients):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    assert rows[-1][1] == (keep or rows[0][1])


def test_a_vit_that_reads_all_tokens_keeps_them():
    assert tokens_read(make_vit("average")) is None
    assert tokens_read(make_vit(block_fn=ParallelScalingBlock)) is None
    assert tokens_read(make_vit()) == 1 and tokens_read(make_vit(), prompts=3) == 4
