"""Other image sizes: timm's own features at that size, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from avalanche_ham.backbones import create_backbone, create_model
from avalanche_ham.errors import OptionError

SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}


def timm_features(name: str, size: int, state: dict, **options) -> tuple:
    """timm's own way to another size: made at that size, resampled while loading."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    vit = timm.create_model(name, num_classes=0, img_size=size, **options).eval()
    vit.load_state_dict(checkpoint_filter_fn(dict(state), vit), strict=False)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return images, vit.forward_head(vit.forward_features(images), pre_logits=True)


@pytest.mark.parametrize("size", [96, 160, 256])
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch16_384", "vit_medium_patch16_reg4_gap_256"]
)
def test_features_at_another_size_are_timm_s(name, size):
    vit = timm.create_model(name, num_classes=0, **SMALL).eval()
    images, expected = timm_features(name, size, vit.state_dict(), **SMALL)
    model = create_model(vit, n_classes=3, image_size=size)
    assert model.encoder.preprocess.size == (size, size)
    torch.testing.assert_close(model.encode(images).features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("AVALANCHE_HAM_WEIGHTS"), reason="names a ViT-Ti/16 file")
def test_a_real_vit_at_96_pixels_gives_timm_s_features():
    path = Path(os.environ["AVALANCHE_HAM_WEIGHTS"])
    name = "vit_tiny_patch16_224"
    images, expected = timm_features(name, 96, load_file(path))
    model = create_model(name, n_classes=3, weights=path, image_size=96)
    found = model.encode(images).features
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert model.encoder.preprocess.mean.flatten().tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(("name", "size"), [("tiny", 32), ("embedded", 96)])
def test_the_own_backbones_take_other_sizes(name, size):
    images = torch.randint(0, 256, (2, 3, 20, 20)).byte()
    model = create_model(name, n_classes=3, pretrained=False, image_size=size)
    vit = model.encoder.vit
    expected = vit(model.encoder.preprocess(images))
    assert model.encoder.preprocess(images).shape == (2, 3, size, size)
    torch.testing.assert_close(model.encode(images).features, expected, rtol=1e-5, atol=1e-5)
    assert not any(p.requires_grad for p in vit.parameters())


def test_no_size_or_the_own_size_leaves_every_weight_as_it_is():
    plain = create_backbone("tiny", seed=2).state_dict()
    for size in (None, 16):
        sized = create_backbone("tiny", seed=2, image_size=size).state_dict()
        assert all(torch.equal(plain[name], sized[name]) for name in plain)


def test_weights_of_another_image_size_are_resampled_to_the_backbone_s(tmp_path):
    large = create_backbone("tiny", seed=3, image_size=32).state_dict()
    path = tmp_path / "large.safetensors"
    save_file(dict(large), path)
    found = create_backbone("tiny", weights=path)
    back = create_backbone("tiny", weights=path, image_size=32)
    assert found.patch_embed.img_size == (16, 16) and found.pos_embed.shape == (1, 17, 48)
    assert torch.equal(found.blocks[1].attn.qkv.weight, large["blocks.1.attn.qkv.weight"])
    assert back.patch_embed.img_size == (32, 32)
    assert torch.equal(
        back.pos_embed, large["pos_embed"]
    )  # resampled to 16 and back it would differ


@pytest.mark.parametrize("size", [0, -16, 18, 15.5, True, "16"])
def test_a_size_that_the_patches_do_not_divide_is_refused(size):
    with pytest.raises(OptionError, match="image_size must be a positive multiple of 4 .* got"):
        create_backbone("tiny", image_size=size)


def test_the_stem_s_stride_counts_in_a_hybrid():
    said = "image_size must be a positive multiple of 32 .* below 32768"
    with pytest.raises(OptionError, match=said):
        create_backbone("embedded", pretrained=False, image_size=48)


def test_a_network_without_such_sizes_is_refused():
    with pytest.raises(OptionError, match="backbone must be a name, a timm ViT or .*Conv2d"):
        create_model(nn.Conv2d(3, 3, 1), n_classes=3, image_size=64)
