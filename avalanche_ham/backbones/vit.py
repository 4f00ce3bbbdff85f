"""Frozen vision transformers by name: timm's, the embedded one, and a tiny random one."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer

from avalanche_ham.backbones.digest import CLASSIFIER, remember_digest
from avalanche_ham.backbones.hub import cache_alone_where_offline
from avalanche_ham.backbones.image_size import match_position_grid, set_image_size
from avalanche_ham.backbones.names import BACKBONES
from avalanche_ham.backbones.support import FAMILIES
from avalanche_ham.backbones.weights import check_weights_file, first_misfit, read_weights
from avalanche_ham.errors import DataError, HamError, StateError, UnknownNameError, check_path
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
        name: ``embedded``, ``tiny``, or a ViT of timm, such as
            ``vit_base_patch16_224.augreg_in21k_ft_in1k``; docs/backbones.md lists which.
        pretrained: load the weights: those of ``embedded``, which ship with the package, or
            timm's, from its cache or the network; else they are random.
        weights: a local file of timm's names instead, see ``read_weights``; a classifier in it
            is ignored, position embeddings of another image size are resampled. For
            ``embedded`` one that ``experiments/pretrain_embedded.py`` has written.
        image_size: side of the square input in pixels, a multiple of the patch size: position
            embeddings are resampled after the weights are loaded. None takes the backbone's own.
        seed: of the random start, where there are no weights.

    Raises:
        UnknownNameError: if timm knows no such name.
        HamError: if it is of a kind that cannot be used.
        DataError: if timm's weights cannot be fetched.
        StateError: if the weights file cannot be read or does not fit.
        OptionError: if the patch size does not divide the image size.
    """
    if weights is not None:
        weights = check_path("weights", weights)
    with forked(seed, "backbone"):
        if name == "embedded":
            vit, weights = _embedded(pretrained, weights), None
        elif name == "tiny":
            vit = _tiny()
        else:
            vit = _from_timm(name, pretrained and weights is None)
        own_size = None if weights is None else _load_local(vit, weights)
        remember_digest(vit)  # of the weights as they are, before anything is resampled
        set_image_size(vit, own_size if image_size is None else image_size)
    return vit.eval().requires_grad_(False)


def check_backbone(name: str, *, pretrained: bool = True) -> None:
    """Say, without making it, that there is no backbone of a name, or none with weights.

    Raises:
        UnknownNameError: if so.
        HamError: if timm knows it, but as another kind of network.
    """
    if name in BACKBONES:
        return
    known = [model for family in FAMILIES for model in timm.list_models(module=family)]
    architecture, dot, _ = name.partition(".")
    if architecture not in known and timm.is_model(architecture):
        family = timm.model_entrypoint(architecture).__module__.rpartition(".")[2]
        raise HamError(
            f"backbone: {architecture} cannot be used: it is of timm's family {family}, not its "
            f"VisionTransformer ({', '.join(FAMILIES)})"
        )
    if architecture not in known:
        raise UnknownNameError("backbone", name, [*BACKBONES, *known])
    tagged = timm.list_pretrained(f"{architecture}.*")
    if name not in tagged if dot else pretrained and not tagged:
        raise UnknownNameError("backbone", name, tagged or timm.list_pretrained("vit_*"))


def _embedded(pretrained: bool, weights: str | Path | None) -> VisionTransformer:
    from avalanche_ham.backbones import embedded

    if weights is None:
        return embedded.load_embedded() if pretrained else embedded.random_embedded()
    check_weights_file(Path(weights))
    return embedded.hybrid_from_file(weights)


def _tiny() -> VisionTransformer:
    return VisionTransformer(
        img_size=16, patch_size=4, embed_dim=48, depth=3, num_heads=3, num_classes=0
    )


def _from_timm(name: str, pretrained: bool) -> VisionTransformer:
    check_backbone(name, pretrained=pretrained)
    quick = cache_alone_where_offline() if pretrained else contextlib.nullcontext()
    with warnings.catch_warnings(), quick:
        warnings.simplefilter("ignore")
        try:
            vit: Any = timm.create_model(name, pretrained=pretrained, num_classes=0)
            return vit
        except OSError as error:
            raise DataError(
                f"backbone: the weights of {name} are not in timm's cache and cannot be "
                "fetched; a local file can be given (weights, on the command line --weights FILE)"
            ) from error


def _load_local(vit: VisionTransformer, path: Path) -> int | None:
    """Load weights of timm's names; a classifier in the file is ignored.

    Returns:
        The backbone's own image size where the file has another one; it is the ViT's until then.
    """
    read = read_weights(path)
    state = {name: tensor for name, tensor in read.items() if not name.startswith(CLASSIFIER)}
    own_size = match_position_grid(vit, state.get("pos_embed"))
    try:
        vit.load_state_dict(state)
    except RuntimeError as error:
        raise StateError(
            f"weights: {path} does not fit this backbone: {first_misfit(error)} "
            "(backbone must be the timm name that the file was saved from)"
        ) from error
    return own_size
