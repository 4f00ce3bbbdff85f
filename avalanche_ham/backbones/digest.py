"""Weights told apart by their tensors, so that a download and a local file are the same weights."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

HEADS = ("head.", "head_dist.", "fc_norm_head.")  # of timm's classifiers, which we never use


def weights_digest(network: nn.Module) -> str:
    """Digest every tensor of a network: name, type, shape and bytes, in the order of names.

    Args:
        network: as loaded, before its position embeddings are resampled to another size.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.startswith(HEADS):
            continue
        tensor = tensor.detach().cpu().contiguous()
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return f"sha256-{digest.hexdigest()[:32]}"
