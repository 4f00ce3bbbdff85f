"""The hybrid ViT: timm's names, a stem that nothing can move, and folded batch norms."""

import pytest
import torch
from torch import nn

from avalanche_ham.backbones.hybrid import FrozenStem, create_hybrid_vit, fold_batch_norms
from avalanche_ham.errors import OptionError


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    vit = create_hybrid_vit(img_size=64, depth=2, embed_dim=48, num_heads=3, num_classes=5)
    _randomise_statistics(vit.patch_embed.backbone)
    return vit


@pytest.fixture(scope="module")
def images():
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _randomise_statistics(stem):
    """Give each batch norm statistics of its own; fresh ones would hide an error in folding."""
    for module in stem.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 2)
            module.bias.normal_(0, 0.1)


def test_blocks_keep_the_names_of_timm(vit):
    names = dict(vit.named_modules())
    for i in range(2):
        for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            assert isinstance(names[f"blocks.{i}.{layer}"], nn.Linear)


def test_one_token_per_thirty_two_pixels_and_a_class_token(vit, images):
    assert vit.forward_features(images).shape == (3, 1 + 2 * 2, 48)
    assert vit(images).shape == (3, 5)
    assert vit.patch_embed.img_size == (64, 64)


def test_batch_norms_stay_in_eval_mode(vit, images):
    stem = vit.patch_embed.backbone
    before = {name: value.clone() for name, value in stem.state_dict().items()}
    vit.train()
    vit(images)
    assert vit.blocks.training
    assert not any(module.training for module in stem.modules())
    assert all(torch.equal(value, before[name]) for name, value in stem.state_dict().items())


def test_gradients_reach_projection_and_blocks_but_not_the_stem(vit, images):
    stem_output = vit.patch_embed.backbone(images)
    assert not stem_output.requires_grad  # nothing is recorded, so nothing is kept in memory
    vit(images).sum().backward()
    assert vit.patch_embed.proj.weight.grad.abs().sum() > 0
    assert vit.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in vit.patch_embed.backbone.parameters())
    vit.zero_grad()


def test_folding_changes_the_network_but_not_its_outputs(images):
    torch.manual_seed(0)
    stem = FrozenStem().double()  # rounding would hide small errors
    _randomise_statistics(stem)
    images = images.double()
    expected = stem(images)
    names = set(stem.state_dict())
    folded = fold_batch_norms(stem)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert set(folded.state_dict()) != names
    assert expected.std() > 1e-3
    torch.testing.assert_close(folded(images), expected, rtol=1e-9, atol=1e-12)
    assert not any(p.requires_grad for p in folded.parameters())


def test_folding_twice_changes_nothing(images):
    stem = fold_batch_norms(FrozenStem())
    once = stem(images)
    assert torch.equal(fold_batch_norms(stem)(images), once)


@pytest.mark.parametrize("size", [0, -32, 48])
def test_size_must_be_a_positive_multiple_of_thirty_two(size):
    with pytest.raises(OptionError, match="img_size must be a positive multiple of 32"):
        create_hybrid_vit(img_size=size, depth=1, embed_dim=48, num_heads=3)
