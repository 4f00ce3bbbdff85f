"""Write a trained ViT as fp16 safetensors that describe themselves, in parts if need be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor


def write_weights(
    state: dict[str, Tensor], path: Path, config: dict[str, Any], *, max_part_size: int = 0
) -> dict[str, str]:
    """Write ``state`` to ``path``, or to ``<stem>-part<i><suffix>`` files of limited size.

    Matrices become fp16; vectors (biases, statistics of batch norms) stay fp32, which costs
    nothing. Every part carries ``config`` as metadata.

    Args:
        state: name -> tensor.
        config: name -> JSON value: the architecture, ``mean``, ``std``, the recipe.
        max_part_size: bytes of tensors per file at most; 0 for a single file.

    Returns:
        File name -> SHA-256 of its content.

    Raises:
        ValueError: if one tensor alone is larger than ``max_part_size``.
    """
    metadata = {name: json.dumps(value) for name, value in config.items()}
    small = {name: _compact(tensor) for name, tensor in state.items()}
    parts = _split(small, max_part_size)
    sums = {}
    for number, part in enumerate(parts, 1):
        name = path.name if len(parts) == 1 else f"{path.stem}-part{number}{path.suffix}"
        content = save(part, metadata)
        path.with_name(name).write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
    return sums


def _compact(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    is_matrix = tensor.is_floating_point() and tensor.squeeze().ndim > 1
    return tensor.to(torch.float16) if is_matrix else tensor.clone()


def _split(state: dict[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in state.items():
        size = tensor.nbytes
        if limit and size > limit:
            raise ValueError(f"max_part_size must be at least {size} ({name}), but got {limit}")
        if limit and used + size > limit:
            parts.append({})
            used = 0
        parts[-1][name] = tensor
        used += size
    return parts
