"""Frozen vision transformers by name: timm's, the embedded one, and a tiny random one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from avalanche_ham.backbones.digest import weights_digest
from avalanche_ham.backbones.names import BACKBONES
from avalanche_ham.errors import DataError, OptionError, StateError, UnknownNameError
from avalanche_ham.seeding import forked


def create_backbone(
    name: str,
    *,
    pretrained: bool = True,
    weights: str | Path | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> VisionTransformer:
    """Make a vision transformer without its classifier.

    Args:
        name: ``embedded``, ``tiny``, or any ViT of timm, such as
            ``vit_base_patch16_224.augreg_in21k_ft_in1k``.
        pretrained: load the weights: those of ``embedded``, which ship with the package, or
            timm's, from its cache or the network; else they are random.
        weights: a local ``.safetensors`` or ``.pth`` file of timm's names, instead; for
            ``embedded`` one that ``experiments/pretrain_embedded.py`` has written.
        image_size: side of the square images in pixels, a multiple of the patch; position
            embeddings are resampled after the weights are loaded. None takes the backbone's own.
        seed: of the random start, where there are no weights.

    Returns:
        The transformer, frozen; its attribute ``weights_digest`` tells its weights from others, as
        ``backbones.digest`` says, and is None if they are random.

    Raises:
        UnknownNameError: if the name is no ViT that timm knows.
        OptionError: if the backbone cannot take images of that size.
        DataError: if timm's weights cannot be fetched.
        StateError: if the weights file cannot be read or does not fit.
    """
    with forked(seed, "backbone"):
        if name == "embedded":
            vit = _embedded(pretrained, weights)
        elif name == "tiny":
            vit = _tiny()
        else:
            vit = _from_timm(name, pretrained and weights is None)
    random = weights is None and (name == "tiny" or not pretrained)
    if weights is not None and name != "embedded":
        _load_local(vit, Path(weights))
    vit.weights_digest = None if random else weights_digest(vit)
    _resize(vit, name, image_size)
    return vit.eval().requires_grad_(False)


def _resize(vit: VisionTransformer, name: str, size: int | None) -> None:
    """Set the size of the images by timm's own means, which resamples position embeddings."""
    if size is None or size == vit.patch_embed.img_size[0]:
        return
    patch = vit.patch_embed.patch_size[0]
    if name == "embedded" or not hasattr(vit, "set_input_size"):
        raise OptionError("image_size", f"{vit.patch_embed.img_size[0]} for {name}", size)
    if size < patch or size % patch:
        raise OptionError("image_size", f"a multiple of {patch}, the patch of {name}", size)
    vit.set_input_size(img_size=(size, size))


def check_backbone(name: str, *, pretrained: bool = True) -> None:
    """Say, without making it, that there is no backbone of a name, or none with weights.

    Raises:
        UnknownNameError: if so.
    """
    if name in BACKBONES:
        return
    known = timm.list_models(module="vision_transformer")
    architecture, dot, _ = name.partition(".")
    if architecture not in known:
        raise UnknownNameError("backbone", name, [*BACKBONES, *known])
    tagged = timm.list_pretrained(f"{architecture}.*")
    if name not in tagged if dot else pretrained and not tagged:
        raise UnknownNameError("backbone", name, tagged or timm.list_pretrained("vit_*"))


def _embedded(pretrained: bool, weights: str | Path | None) -> VisionTransformer:
    from avalanche_ham.backbones import embedded

    if weights is None:
        return embedded.load_embedded() if pretrained else embedded.random_embedded()
    try:
        return embedded.hybrid_from_file(weights)
    except OSError as error:
        raise StateError(f"weights: cannot read {weights}: {error.strerror}") from error


def _tiny() -> VisionTransformer:
    return VisionTransformer(
        img_size=16, patch_size=4, embed_dim=48, depth=3, num_heads=3, num_classes=0
    )


def _from_timm(name: str, pretrained: bool) -> VisionTransformer:
    check_backbone(name, pretrained=pretrained)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            vit: Any = timm.create_model(name, pretrained=pretrained, num_classes=0)
            return vit
        except OSError as error:
            raise DataError(
                f"backbone: the weights of {name} are not in timm's cache and cannot be "
                "fetched; a local file can be given (weights)"
            ) from error


def _load_local(vit: VisionTransformer, path: Path) -> None:
    """Load weights of timm's names; a classifier in the file is ignored."""
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:  # tensors only: nothing in the file is executed
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = {n: t.float() for n, t in state.items() if not n.startswith("head.")}
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise StateError(f"weights: cannot read {path}: {first}") from error
    try:
        vit.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise StateError(f"weights: {path} does not fit this backbone: {first}") from error
