"""Networks that cannot be the backbone are refused before anything is built on them."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from avalanche_ham import create_model
from avalanche_ham.backbones import Encoding, create_backbone
from avalanche_ham.errors import HamError, OptionError


class Doubled(VisionTransformer):
    def forward(self, x, **kwargs):
        return 2 * super().forward(x, **kwargs)


class Cut(VisionTransformer):
    def forward_features(self, x, **kwargs):
        return super().forward_features(x, **kwargs)[:, :2]


def vit(kind=VisionTransformer, **options):
    small = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 3}
    return kind(**{**small, "num_classes": 0, **options})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: vit(global_pool=""), "VisionTransformer cannot be used: global_pool is ''"),
        (lambda: vit(Doubled), "Doubled cannot be used: it has a forward of its own"),
        (lambda: vit(Cut), "Cut cannot be used: it has a forward_features of its own"),
        (lambda: vit(in_chans=4), "it takes 4 channels; images have 1 or 3"),
        (lambda: vit().half(), "its weights are float16; make it float32 first"),
        (lambda: vit().double(), "its weights are float64; make it float32 first"),
        (lambda: vit().to("meta"), "its weights have no values"),
        (lambda: timm.create_model("resnet18"), "ResNet cannot be used: it is not timm's"),
        (
            lambda: timm.create_model("vit_relpos_small_patch16_224", depth=1),
            "RelPos cannot be used",
        ),
        (lambda: timm.create_model("test_efficientnet"), "EfficientNet cannot be used"),
    ],
)
def test_a_network_that_cannot_be_the_backbone_is_refused_and_left_as_it_is(make, reason):
    network = make()
    with pytest.raises(HamError, match=reason) as caught:
        create_model(network, n_classes=3)
    assert "\n" not in str(caught.value)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("eva02_tiny_patch14_224", "eva"),
        ("vit_small_patch16_dinov3", "eva"),
        ("vit_relpos_small_patch16_224", "vision_transformer_relpos"),
        ("swin_tiny_patch4_window7_224.ms_in1k", "swin_transformer"),
        ("resnet18", "resnet"),
    ],
)
def test_a_name_of_another_family_is_refused_with_its_family(name, family):
    with pytest.raises(HamError, match=f"cannot be used: it is of timm's family {family}, not"):
        create_backbone(name)


class Own(nn.Module):
    num_features = 3


@pytest.mark.parametrize("make", [vit, Own])
def test_weights_of_a_network_of_your_own_are_not_ignored(make, tmp_path):
    with pytest.raises(OptionError, match="weights must be None for a network of your own"):
        create_model(make(), n_classes=3, weights=tmp_path / "w.pth")


def test_the_image_size_of_an_encoder_of_your_own_is_not_ignored():
    with pytest.raises(OptionError, match="image_size must be None for a Own"):
        create_model(Own(), n_classes=3, image_size=32)


def test_a_hybrid_of_grey_images_takes_the_luma_of_colours():
    grey = timm.create_model(
        "vit_tiny_r_s16_p8_224", num_classes=0, in_chans=1, img_size=64, depth=1
    ).eval()
    model = create_model(grey, n_classes=3).eval()
    one = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        features = model.encode(one).features
        torch.testing.assert_close(model.encode(one.expand(-1, 3, -1, -1)).features, features)
        by_hand = grey((one.float() / 255 - 0.5) / 0.5)
    torch.testing.assert_close(features, by_hand, rtol=1e-4, atol=1e-5)


class Wrapped(nn.Module):
    """A network of timm as an encoder of one's own."""

    def __init__(self, network) -> None:
        super().__init__()
        self.network, self.num_features = network, network.num_features

    def forward(self, images):
        return Encoding(self.network(images))


def test_a_layer_that_is_there_for_its_weight_only_is_no_place_for_an_adapter():
    small = {"num_classes": 0, "img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 1}
    beit = timm.models.beit.Beit(**small, num_heads=3)  # F.linear(x, qkv.weight, its own bias)
    model = create_model(Wrapped(beit), n_classes=3)
    images = torch.zeros(1, 3, 16, 16)
    assert model(images).shape == (1, 3)
    model.attach_adapters(("mlp.fc1", "attn.qkv"))
    with pytest.raises(HamError, match=r"does not call its layer network.blocks.0.attn.qkv "):
        model(images)
    good = create_model(Wrapped(vit()), n_classes=3)
    good.attach_adapters(("mlp.fc1", "attn.qkv"))
    for _ in range(2):
        assert good(images).shape == (1, 3)
    assert not any(module._forward_pre_hooks for module in good.modules())
