"""Double precision wherever a tensor lies: some devices, such as Apple's mps, do not have it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


def in_float64(tensor: Tensor) -> Tensor:
    """Give a tensor in float64, on its own device if that can, else on the CPU."""
    return (tensor if has_float64(tensor.device) else tensor.cpu()).double()


def back_to(tensor: Tensor, like: Tensor) -> Tensor:
    """Give a result in the type and on the device of another tensor."""
    return tensor.to(like.dtype).to(like.device)  # the type first: the device may lack the old one


@functools.cache
def has_float64(device: torch.device) -> bool:
    """Whether a device can hold float64 at all."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):  # what torch raises differs by device
        return False
    return True
