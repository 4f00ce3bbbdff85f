"""Which networks of timm can be the backbone: writes docs/backbones.md.

    python experiments/backbone_table.py docs/backbones.md

Each row is one small random instance, nothing is downloaded. "Works" means that these checks
passed on it: features are those of timm's ``forward_features`` and pooling; a training step of HAM
and of one LoRA changes adapters and head and nothing else; the merged model gives the unmerged
one's outputs. Takes half a minute on one core.
"""

from __future__ import annotations

import argparse
import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from avalanche_ham import HAMStrategy, create_model
from avalanche_ham.backbones.support import FAMILIES
from avalanche_ham.backbones.vit import check_backbone
from avalanche_ham.benchmarks.class_incremental import Benchmark, class_incremental
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import HamError
from avalanche_ham.strategies.sequential import SequentialStrategy

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
TARGETS = ("attn.qkv", "in_proj")  # the first of them that the blocks have
SMALL: dict[str, Any] = {"depth": 2, "embed_dim": 64, "num_heads": 2}


class Instance(NamedTuple):
    """A model of timm, what it shows, and how it is made small."""

    name: str
    shows: str
    options: dict[str, Any]


def small(name: str, shows: str, img_size: Any = 64, **options: Any) -> Instance:
    """Give a ViT of two narrow blocks on small images."""
    return Instance(name, shows, {**SMALL, "img_size": img_size, **options})


VITS = (
    small("vit_tiny_patch16_224", "class token"),
    small("vit_small_patch8_224", "patches of 8 px", 32),
    small("vit_small_patch32_224", "patches of 32 px", 128),
    small("vit_tiny_patch16_224", "images that are not square", (32, 64)),
    small("vit_tiny_patch16_224", "dynamic image size", dynamic_img_size=True),
    small("vit_tiny_patch16_224", "grey images (in_chans 1)", in_chans=1),
    small("vit_tiny_patch16_224", "mean of the patch tokens (global_pool avg)", global_pool="avg"),
    small("vit_tiny_patch16_224", "attention pooling (global_pool map)", global_pool="map"),
    small("vit_base_patch16_224_miil", "no bias in qkv"),
    small("vit_medium_patch16_gap_256", "no class token"),
    small("vit_medium_patch16_reg4_gap_256", "registers, no class token"),
    small("vit_so150m2_patch16_reg1_gap_256", "SO-150M"),
    small("vit_so150m_patch16_reg4_map_256", "registers, attention pooling"),
    small("vit_betwixt_patch32_clip_224", "CLIP, patches of 32 px", 128),
    small("vit_base_patch16_clip_224", "CLIP: norm before the blocks"),
    small("vit_base_patch16_clip_quickgelu_224", "CLIP of OpenAI"),
    small("vit_base_patch16_siglip_224", "SigLIP: attention pooling"),
    small("vit_base_patch16_siglip_gap_224", "SigLIP: mean of the patch tokens"),
    small("vit_small_patch14_dinov2", "DINOv2: layer scale, patches of 14 px", 56),
    small("vit_small_patch14_reg4_dinov2", "DINOv2 with registers", 56),
    small("vit_base_patch14_reg1_tipsv2", "TIPSv2", 56),
    small("vit_base_patch16_radio_v3", "RADIO"),
    small("vit_intern300m_patch14_448", "InternViT", 56),
    small("aimv2_large_patch14_224", "AIMv2: RMS norm, gated MLP", 56),
    small("beit3_base_patch16_224", "BEiT-3: sub-layer norms"),
    small("eva_large_patch14_196", "EVA pre-training of a plain ViT", 56),
    small("flexivit_small", "FlexiViT"),
    small("vit_small_patch16_36x1_224", "36 blocks in a row"),
    small("vit_base_patch16_rpn_224", "norm after the branches"),
    small("vit_small_patch16_18x2_224", "two branches in parallel"),
    small("vit_base_patch16_xp_224", "attention beside the MLP, in one layer"),
    small("vit_pwee_patch16_reg1_gap_256", "attention beside the MLP, registers"),
    small("vit_dlittle_patch16_reg1_gap_256", "differential attention"),
    small("vit_dpwee_patch16_reg1_gap_256", "differential attention beside the MLP"),
    small("test_vit", "timm's own test model"),
    small("deit_tiny_patch16_224", "DeiT"),
    small("deit_tiny_distilled_patch16_224", "DeiT distilled: mean of its two class tokens"),
    small("deit3_small_patch16_224", "DeiT III"),
    small("vit_tiny_r_s16_p8_224", "hybrid, ResNet stem"),
    small("vit_small_r26_s32_224", "hybrid, ResNet-26 with stride 32"),
    small("vit_base_r50_s16_224", "hybrid, ResNet-50 with stride 16"),
    small("vit_base_resnet26d_224", "hybrid, ResNet-26d"),
    small("vit_small_r26_s32_224", "hybrid, grey images", in_chans=1),
    Instance("vit_base_mci_224", "hybrid, stem of MobileCLIP", {"depth": 1, "img_size": 64}),
    Instance("vitamin_small_224", "ViTamin: hybrid, gated MLP", {"depth": 2, "img_size": 64}),
    small("vit_tiny_patch16_224", "all tokens (global_pool '')", global_pool=""),
    small("vit_tiny_patch16_224", "images of four channels", in_chans=4),
    small("vit_tiny_patch16_224", "half precision", dtype=torch.float16),
)


class Row(NamedTuple):
    """What came of an instance: why not, or what adapters attach to."""

    instance: Instance
    kind: str
    targets: str = ""
    refusal: str = ""

    def line(self) -> str:
        """Write a row of the page's first table."""
        name, shows, _ = self.instance
        if self.refusal:
            return f"| `{name}` | {shows} | refused: {self.refusal} | |"
        return f"| `{name}` | {shows} | works ({self.kind}) | `{self.targets}` |"


def build(instance: Instance) -> Any:
    """Make an instance with random weights, none of them at a start that hides a mistake."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        options = {"num_classes": 0, **instance.options}
        dtype = options.pop("dtype", torch.float32)
        vit = timm.create_model(instance.name, **options).to(dtype)
        for name, parameter in vit.named_parameters():
            if parameter.ndim == 1 or name.endswith(("_embed", "_token", "latent")):
                is_scale = name.endswith(("weight", "gamma"))
                nn.init.normal_(parameter, mean=float(is_scale), std=0.2)
    return vit.eval()


def row_of(instance: Instance) -> Row:
    """Check an instance; raises AssertionError where it is accepted and does not work."""
    vit = build(instance)
    kind = f"{type(vit).__name__}, {type(vit.blocks[0]).__name__}"
    try:
        check_features(instance)
    except HamError as error:
        return Row(instance, kind, refusal=reason(error))
    names = [name for name, m in vit.named_modules() if isinstance(m, nn.Linear)]
    targets = next(t for t in TARGETS if any(f".{n}".endswith(f".{t}") for n in names))
    for method in (HAMStrategy, functools.partial(SequentialStrategy, trains="lora")):
        check_training(instance, method, targets)
    return Row(instance, kind, targets)


def check_features(instance: Instance) -> None:
    """Compare with timm: its own forward pass, and every image's features on their own."""
    vit = build(instance)
    size, channels = vit.patch_embed.img_size, instance.options.get("in_chans", 3)
    images = torch.randn(
        2, channels, *(size or (16, 16)), generator=torch.Generator().manual_seed(1)
    )
    model = create_model(build(instance), n_classes=4).eval()
    with torch.no_grad():
        expected = vit.forward_head(vit.forward_features(images), pre_logits=True)
        found = model.encode(images).features
    assert expected.shape == (2, model.encoder.num_features)
    assert not torch.allclose(expected[0], expected[1], **CLOSE), "features do not see the image"
    torch.testing.assert_close(found, expected, **CLOSE)


def check_training(instance: Instance, method: Any, targets: str) -> None:
    """Train one step: adapters move, the backbone does not; merging changes no output."""
    torch.manual_seed(1)
    model = create_model(build(instance), n_classes=4)
    base = snapshot(model)
    options = {"keep": 1.0} if method is HAMStrategy else {}
    warnings.filterwarnings("ignore", "No loggers specified")
    strategy = method(
        model=model,
        rank=2,
        targets=(targets,),
        lr=3e-2,
        steps=1,
        train_mb_size=4,
        evaluator=None,
        **options,
    )
    size = model.encoder.vit.patch_embed.img_size
    benchmark = made_up(max(size))
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    after = snapshot(model)
    assert all(torch.equal(base[name], after[name]) for name in base), "the backbone moved"
    new = {name.split(".")[-2] for name in set(after) - set(base)}
    assert new <= {"terms", "branch"}, new
    for name, update in model.adapters.total().items():
        assert update.abs().sum() > 0, f"the adapter of {name} did not move"
    images = torch.stack([benchmark.test_stream[0].dataset[i][0] for i in range(2)])
    model.eval()
    with torch.no_grad():
        bare = build(instance)
        unmerged = model(images)
        with model.adapters.merged(model.adapters.total()):
            by_hand = model(images)
        with strategy.evaluation_weights():
            merged = model(images)
        moved = model.encode(images).features
        plain = create_model(bare, n_classes=4).eval().encode(images).features
    torch.testing.assert_close(merged, unmerged, **CLOSE)
    torch.testing.assert_close(by_hand, unmerged, **CLOSE)
    assert not torch.allclose(plain, moved, **CLOSE), "the adapters have no effect"


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Copy the encoder's state by name."""
    return {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}


def made_up(size: int) -> Benchmark:
    """Two tasks of two classes of noise."""
    pixels = torch.randint(0, 256, (16, 3, size, size), generator=torch.Generator().manual_seed(2))
    targets = [c for c in range(4) for _ in range(4)]
    data = ImageSet(pixels.to(torch.uint8), targets=targets, classes=list("abcd"))
    return class_incremental(data, data, n_tasks=2, seed=0, name="made up")


def families() -> Iterator[tuple[str, str, str]]:
    """Give every other module of timm, a model of it, and the reason that its name gets."""
    for family in sorted(set(timm.list_modules()) - set(FAMILIES)):
        name = timm.list_models(module=family)[0]
        try:
            check_backbone(name, pretrained=False)
        except HamError as error:
            yield family, name, reason(error).partition(" (")[0]
        else:
            raise AssertionError(f"{name} is accepted, but its family is not known")


def reason(error: HamError) -> str:
    """Leave out who is refused, which the row says."""
    return str(error).partition("cannot be used: ")[2]


def page() -> str:
    """Write the whole page."""
    rows = [row_of(instance).line() for instance in VITS]
    others = [f"| {family} | `{name}` | {why} |" for family, name, why in families()]
    return "\n".join([HEAD, *rows, MIDDLE, *others, ""])


HEAD = f"""# Backbones

`--backbone` and `create_model` take the names `embedded` and `tiny`, the models of timm's modules
{", ".join(f"`{f}`" for f in FAMILIES)} by name, and a timm
`VisionTransformer` or an encoder of your own as an object. All else is refused with the reasons
below. Written by `python experiments/backbone_table.py docs/backbones.md` with timm
{timm.__version__}; tests compare it.

## timm's VisionTransformer

One small random instance each. *Works* means: without adapters the features are those of timm's
`forward_features` and pooling to 1e-5; one training step of HAM and of `lora` changes the adapters
and the head and nothing else; merged and unmerged evaluation agree to 1e-5. The last column is
what adapters attach to (`--targets`; the default is `attn.qkv`). Methods that put prompts into the
attention, or a module beside the MLP, need the standard `Block`, and say so.

| model | what it shows | result (class, block) | targets |
|---|---|---|---|"""
MIDDLE = """
## Other networks of timm

| family | such as | refused, because |
|---|---|---|"""


def main() -> None:
    """Write the page to the file that is named, or print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="the page; printed where none is named")
    target = parser.parse_args().file
    torch.set_num_threads(1)
    text = page()
    if target is None:
        print(text, end="")
    else:
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
