"""Which weights a backbone holds, told by its tensors and not by the file they came in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["remember_digest", "remembered_digest", "tensors_digest", "weights_digest"]

CLASSIFIER = ("head.", "head_dist.")  # timm's names; its size depends on another data set
_REMEMBERED = "_weights_digest"


def weights_digest(module: nn.Module) -> str:
    """Tell a backbone's weights from others: the same for a download and a local file.

    For what ``create_backbone`` made, this is the digest of the weights as they were loaded,
    before their position embeddings were resampled to another image size or their layers
    adapted; computed once. For any other module it is computed from its present state.

    Returns:
        ``sha256-`` and 32 hexadecimal digits.
    """
    return remembered_digest(module) or tensors_digest(module.state_dict())


def remembered_digest(module: nn.Module) -> str | None:
    """Give ``weights_digest`` if it need not be computed; None for an encoder of one's own."""
    found: str | None = getattr(module, _REMEMBERED, None)
    return found


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """Digest sorted names, types, shapes and values; a classifier does not count.

    Args:
        state: tensors by name, on any device.

    Returns:
        ``sha256-`` and 32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(CLASSIFIER):
            continue
        tensor = state[name].detach().cpu().contiguous()
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return f"sha256-{digest.hexdigest()[:32]}"


def remember_digest(module: nn.Module) -> None:
    """Keep the digest of a module's present state, unless an earlier one is kept already."""
    if remembered_digest(module) is None:
        setattr(module, _REMEMBERED, tensors_digest(module.state_dict()))
