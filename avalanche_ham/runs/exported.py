"""An exported folder as a function from images to scores, as a finished run is one."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from avalanche_ham.backbones.encoder import VitEncoder
from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.errors import HamError, OptionError, StateError, check_whole
from avalanche_ham.files import read_regular
from avalanche_ham.runs.classifier import Classifier, run_classifier
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.timm_format import SIDE

LARGEST_SIDE = 2**12  # pixels of the images that an exported model takes


@contextmanager
def classifier_in(
    folder: Path, *, head: str | None = None, device: str = "auto"
) -> Iterator[Classifier]:
    """Give the classifier of a run, or of what ``ham export`` has made of one.

    Args:
        folder: of the run, or exported as ``timm`` or ``onnx``.
        head: one of the run's heads, None its first; an exported folder has one only.
        device: ``auto``, ``cpu``, ``cuda``, ...; onnxruntime computes on the CPU.

    Raises:
        StateError: if the folder holds no run and no exported model, or one that is damaged.
        HamError: if onnxruntime is missing, it is a peft folder, or as ``run_classifier``.
    """
    kinds = {"model.onnx": _onnx, "model.safetensors": _timm}
    kind = next((name for name in kinds if (folder / name).exists()), None)
    if kind is None:
        if (folder / "adapter_config.json").exists():
            formats = "export the run with --format timm or onnx"
            raise HamError(f"predict: {folder} holds adapters without their backbone; {formats}")
        with run_classifier(folder, head=head, device=device) as classifier:
            yield classifier
        return
    if head is not None:
        raise OptionError("head", "left out for an exported model, which has one", head)
    try:
        classifier = kinds[kind](folder, Resources(device=device).torch_device())
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, HamError):
            raise
        line = " ".join(str(error).split())[:200]
        raise StateError(f"{folder} cannot be read as an exported model: {line}") from error
    yield classifier


def _timm(folder: Path, device: torch.device) -> Classifier:
    config = json.loads(read_regular(folder / "config.json", limit=2**24))
    names, given = config["label_names"], config["pretrained_cfg"]
    size, side = given["input_size"][-1], config[SIDE]
    for name, value in (("input_size", size), (SIDE, side)):
        check_whole(name, value, 1, LARGEST_SIDE)
    # by name only: timm would fetch an architecture such as "hf-hub:..." from the network
    vit: Any = create_backbone(config["architecture"], pretrained=False, image_size=size)
    vit.reset_classifier(len(names))
    vit.pretrained_cfg = {**vit.pretrained_cfg, **given}  # with the mean and deviation
    vit.load_state_dict(load(read_regular(folder / "model.safetensors")))
    encoder = VitEncoder(vit.eval().requires_grad_(False)).to(device)

    @torch.no_grad()
    def scores(images: Tensor) -> Tensor:
        found: Tensor = vit.head(encoder(images.to(device)).features)
        return found.cpu()

    return Classifier(tuple(names), side, scores)


def _onnx(folder: Path, device: torch.device) -> Classifier:
    if importlib.util.find_spec("onnxruntime") is None:
        raise HamError("predict: onnxruntime is missing; pip install 'avalanche-ham[onnx]'")
    import onnxruntime

    # the whole file, so that no other one that it may name is read
    session = onnxruntime.InferenceSession(
        read_regular(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    side = session.get_inputs()[0].shape[-1]

    def scores(images: Tensor) -> Tensor:
        (found,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(found)

    return Classifier(tuple(names), side, scores)
