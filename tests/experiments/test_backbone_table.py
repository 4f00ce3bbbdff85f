"""docs/backbones.md says what is so: some of its rows by default, all of them in the campaigns."""

from __future__ import annotations

import warnings

import pytest
import timm
import torch

from avalanche_ham.backbones.image_size import pixels_per_token
from avalanche_ham.backbones.model import create_model
from avalanche_ham.backbones.names import own_size
from avalanche_ham.backbones.support import FAMILIES

FEW = {
    "class token",
    "grey images (in_chans 1)",
    "DeiT distilled: mean of its two class tokens",
    "DINOv2 with registers",
    "SigLIP: attention pooling",
    "attention beside the MLP, in one layer",
    "all tokens (global_pool '')",
    "half precision",
}


@pytest.fixture(scope="module")
def committed(experiments):
    return (experiments.parent / "docs" / "backbones.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_handful_of_rows_is_as_the_page_says(committed):
    from backbone_table import VITS, row_of

    chosen = [instance for instance in VITS if instance.shows in FEW]
    assert len(chosen) == len(FEW)
    for instance in chosen:
        assert row_of(instance).line() + "\n" in committed


def test_other_families_are_refused_by_name_as_the_page_says(committed):
    from backbone_table import families

    rows = {family: f"| {family} | `{name}` | {why} |\n" for family, name, why in families()}
    for family in ("eva", "beit", "swin_transformer", "resnet", "naflexvit", "mobilevit"):
        assert rows[family] in committed


@pytest.mark.stress
def test_the_whole_page_is_what_the_script_writes(committed):
    from backbone_table import page

    assert page() == committed


@pytest.mark.parametrize(
    "every",
    [
        pytest.param(12, marks=pytest.mark.slow),
        pytest.param(1, marks=pytest.mark.stress),
    ],
)
def test_every_name_that_is_accepted_has_timms_features_and_a_known_image_size(every):
    names = [name for family in FAMILIES for name in timm.list_models(module=family)]
    differ = []
    for name in names[::every]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            vit = timm.create_model(name, depth=1, num_classes=0).eval()
        if own_size(name) not in (None, vit.patch_embed.img_size[0]):
            differ.append((name, own_size(name), vit.patch_embed.img_size))
        model = create_model(vit, n_classes=2, image_size=2 * pixels_per_token(vit)).eval()
        images = torch.randn(1, 3, *vit.patch_embed.img_size)
        with torch.no_grad():
            expected = vit.forward_head(vit.forward_features(images), pre_logits=True)
            torch.testing.assert_close(
                model.encode(images).features, expected, rtol=1e-5, atol=1e-5
            )
    assert not differ
