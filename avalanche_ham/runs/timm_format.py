"""A run's merged model as a folder that ``timm.create_model("local-dir:...")`` and the hub load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.models import save_for_hf
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.backbones.names import BACKBONES
from avalanche_ham.errors import HamError, NoMatchError, check_path
from avalanche_ham.files import whole_folder
from avalanche_ham.runs.export import check_target, saved_run
from avalanche_ham.runs.folded import Folded, fold
from avalanche_ham.runs.model_card import write_card

SIDE = "image_side"  # entry of config.json: images are decoded to it, then resized on the device


def export_timm(folder: str | Path, to: str | Path, *, head: str | None = None) -> list[Path]:
    """Write ``model.safetensors``, ``config.json`` and a model card to a new folder.

    Everything learned is in the weights of timm's own architecture, the head is its classifier,
    class names are ``label_names``. Its scores order classes as the run's head did: they are that
    head's own, times the length of the feature where it gives cosines (class means).

    Args:
        folder: of the run, with its state.
        to: appears when all of it is written.
        head: one of the run's heads; None takes its first.

    Raises:
        NoMatchError: if the head is no linear layer on the features (``ridge``, ``lda_drift``), or
            as ``fold``.
        HamError: if the backbone is none of timm's, ``to`` is a link or not empty, or as ``fold``.
    """
    folder, to = check_path("folder", folder), check_path("to", to)
    check_target(to)
    tree = saved_run(folder)
    backbone = tree["identity"]["backbone"]
    if backbone in BACKBONES:
        raise HamError(f"format: {backbone} is none of timm's networks; onnx takes it")
    network = fold(tree, head=head)
    vit = _with_classifier(network, backbone)
    to.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(to) as place:
        save_for_hf(
            vit,
            str(place),
            model_config={
                "label_names": network.names,
                "model_args": {"img_size": vit.pretrained_cfg["input_size"][-1]},
                SIDE: network.side,
            },
            safe_serialization=True,
        )
        write_card(
            place, folder, tree, kind="timm", heads=[network.name], classes=len(network.names)
        )
    return [to]


def _with_classifier(network: Folded, backbone: str) -> Any:
    """Give the transformer with the head as its classifier, and what timm needs to know of it."""
    weight, bias = linear_layer(network)
    vit: Any = network.encoder.vit
    vit.reset_classifier(len(weight))
    with torch.no_grad():
        vit.head.weight.copy_(weight)
        vit.head.bias.copy_(bias)
    known, preprocess = dict(vit.pretrained_cfg), network.encoder.preprocess
    vit.pretrained_cfg = {
        **{key: known.get(key) for key in ("first_conv", "license", "origin_url", "paper_name")},
        "architecture": backbone.partition(".")[0],
        "classifier": "head",
        "input_size": (preprocess.mean.numel(), *preprocess.size),
        "mean": tuple(preprocess.mean.flatten().tolist()),
        "std": tuple(preprocess.std.flatten().tolist()),
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "fixed_input_size": True,
    }
    return vit.eval()


def linear_layer(network: Folded) -> tuple[Tensor, Tensor]:
    """Give the head as ``weight (C, d)`` and ``bias (C,)`` of the classes seen.

    Raises:
        NoMatchError: if it is no linear layer.
    """
    head: nn.Module = network.head
    if network.name == "linear":
        place = {label: row for row, label in enumerate(head.classes.tolist())}  # type: ignore
        rows = [place[label] for label in network.seen.tolist()]
        return torch.cat(list(head.weights))[rows], torch.cat(list(head.biases))[rows]  # type: ignore
    parts = head.solution()  # type: ignore[operator]
    if parts.keys() >= {"weights", "bias"}:
        layer = parts["weights"].T[network.seen], parts["bias"][network.seen]
    elif "means" in parts:
        layer = parts["means"][network.seen], torch.zeros(len(network.seen))
    else:
        layer = None
    if layer is None or not _agree(network, *layer):
        raise NoMatchError(f"format: the head {network.name} is no linear layer; onnx takes it")
    return layer


def _agree(network: Folded, weight: Tensor, bias: Tensor) -> bool:
    """Whether a layer gives the head's scores, or those times a length that all classes share."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(64, weight.shape[1], generator=generator)
    with torch.no_grad():
        scores = network.head(features)[:, network.seen]
        found = F.linear(features, weight, bias)
        if not bias.any():  # cosines
            scores, found = F.normalize(scores, dim=1), F.normalize(found, dim=1)
    return torch.allclose(found, scores, rtol=1e-3, atol=1e-3 * float(scores.abs().max()))
