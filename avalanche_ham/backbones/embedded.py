"""The embedded backbone: a small pre-trained hybrid ViT that ships inside the package.

EMBEDDED.md beside the weights is its model card.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

from safetensors.torch import load
from timm.models.vision_transformer import VisionTransformer

from avalanche_ham.backbones.digest import remember_digest
from avalanche_ham.backbones.hybrid import create_hybrid_vit, fold_batch_norms
from avalanche_ham.backbones.weights import first_misfit
from avalanche_ham.errors import StateError

__all__ = ["EMBEDDED_SHA256", "hybrid_from_bytes", "load_embedded"]

EMBEDDED_FILE = "embedded.safetensors"
EMBEDDED_SHA256 = "377e2c901430ee953cfbd5c1f15cbb7d9f63142d3ee0f1e85c9f04ff3d08cb91"
ARCHITECTURE = ("img_size", "depth", "embed_dim", "num_heads")


def load_embedded() -> VisionTransformer:
    """Load the embedded backbone in fp32, without a classifier; needs no network.

    ``vit.pretrained_cfg`` holds ``input_size``, ``mean`` and ``std``, as for any timm model.

    Raises:
        StateError: if the file is missing or is not the one that the package was released with.
    """
    return hybrid_from_bytes(_shipped(), sha256=EMBEDDED_SHA256)


def random_embedded() -> VisionTransformer:
    """Build the embedded backbone with random weights, from torch's global generator.

    Raises:
        StateError: if the shipped file, which describes the network, is missing.
    """
    config = embedded_metadata()
    return _finished(_hybrid(config), config)


def embedded_metadata() -> dict:
    """Read what the shipped file says of itself: architecture, ``mean``, ``std``, recipe.

    Raises:
        StateError: if the file is missing.
    """
    return _metadata(_shipped())


def _shipped() -> bytes:
    try:
        return files("avalanche_ham.backbones").joinpath(EMBEDDED_FILE).read_bytes()
    except OSError as error:
        raise StateError(f"embedded backbone: cannot read {EMBEDDED_FILE}: {error}") from error


def hybrid_from_bytes(data: bytes, *, sha256: str | None = None) -> VisionTransformer:
    """Build a hybrid ViT from the content of a safetensors file that describes itself.

    The header's metadata give ``img_size``, ``depth``, ``embed_dim``, ``num_heads``, ``mean`` and
    ``std`` as JSON values. Weights of any precision become fp32. The frozen batch norms are
    folded into their convolutions: same outputs, about 1.6 times the speed of the stem.

    Args:
        data: the whole file.
        sha256: the checksum it must have, as hexadecimal digits; None for no check.

    Raises:
        StateError: if the checksum differs or the content is no hybrid ViT.
    """
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise StateError(
            f"embedded backbone: the weights have SHA-256 {found[:12]}..., but must have "
            f"{sha256[:12]}...; the file is damaged, please install the package again"
        )
    try:
        config = _metadata(data)
        vit = _hybrid(config)
        vit.load_state_dict({name: tensor.float() for name, tensor in load(data).items()})
    except Exception as error:
        why = first_misfit(error)
        raise StateError(f"hybrid ViT: the weights cannot be used: {why}") from error
    return _finished(vit, config)


def _hybrid(config: dict) -> VisionTransformer:
    return create_hybrid_vit(**{name: config[name] for name in ARCHITECTURE})


def _finished(vit: VisionTransformer, config: dict) -> VisionTransformer:
    """Fold the stem's batch norms and say, as timm does, what the inputs must look like."""
    remember_digest(vit)  # folding rounds as the processor does, what was loaded does not
    fold_batch_norms(vit.patch_embed.backbone)
    shown = {
        "input_size": (3, config["img_size"], config["img_size"]),
        "interpolation": "bilinear",
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "num_classes": 0,
    }
    for name in ("pretrained_cfg", "default_cfg"):  # timm reads either
        setattr(vit, name, shown)
    return vit.eval()


def hybrid_from_file(path: str | Path) -> VisionTransformer:
    """Build a hybrid ViT from a file, as :func:`hybrid_from_bytes`, with no checksum."""
    return hybrid_from_bytes(Path(path).read_bytes())


def _metadata(data: bytes) -> dict:
    """Read the metadata of a safetensors file: 8 bytes of length, then a JSON header."""
    length = int.from_bytes(data[:8], "little")
    found = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if missing := {*ARCHITECTURE, "img_size", "mean", "std"} - found.keys():
        raise StateError(f"its header does not say {', '.join(sorted(missing))}")
    return {name: json.loads(value) for name, value in found.items()}
