"""Copies of a task's images that show more of a drift than the images as they are.

A map of the drift is fitted on the current task's images, and little that they show is the drift of
other classes. Copies that look unlike them show more; their classes do not matter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from avalanche_ham.errors import UnknownNameError

View = Callable[[Tensor], Tensor]


def quarter(images: Tensor) -> Tensor:
    """Turn images ``(N, C, H, W)`` by 90 degrees."""
    return torch.rot90(images, 1, (2, 3))


def half(images: Tensor) -> Tensor:
    """Turn images ``(N, C, H, W)`` by 180 degrees."""
    return torch.rot90(images, 2, (2, 3))


def recoloured(images: Tensor) -> Tensor:
    """Let each of the channels of images ``(N, C, H, W)`` stand in for the next."""
    return images.roll(1, 1)


VIEWS: dict[str, tuple[View, ...]] = {"none": (), "turned": (quarter, half, recoloured)}


def check_views(name: str) -> str:
    """Give the name back.

    Raises:
        UnknownNameError: if it is none of ``VIEWS``.
    """
    if name not in VIEWS:
        raise UnknownNameError("views", name, VIEWS)
    return name
