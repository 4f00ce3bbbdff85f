"""Random views of a training batch, drawn once per batch: flips and crops by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.errors import UnknownNameError

Augment = Callable[[Tensor], Tensor]
MARGIN = 8  # a crop moves the picture by up to an eighth of its side


def flip(images: Tensor) -> Tensor:
    """Mirror each image ``(N, C, H, W)`` left to right with probability 1/2."""
    mirrored = torch.rand(len(images), device="cpu").to(images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def flip_crop(images: Tensor) -> Tensor:
    """Mirror, then move each image by up to an eighth of its side; what is left empty is black.

    The moves are independent, uniform and whole pixels, up and down, left and right.
    """
    images = flip(images)
    n, _, height, width = images.shape
    top, left = height // MARGIN, width // MARGIN
    padded = F.pad(images, (left, left, top, top))
    rows = torch.randint(2 * top + 1, (n, 1)) + torch.arange(height)
    columns = torch.randint(2 * left + 1, (n, 1)) + torch.arange(width)
    index = torch.arange(n)[:, None, None]
    picked = padded.permute(0, 2, 3, 1)[
        index.to(images.device),
        rows[:, :, None].to(images.device),
        columns[:, None, :].to(images.device),
    ]
    return picked.permute(0, 3, 1, 2)


AUGMENTS: dict[str, Augment | None] = {"none": None, "flip": flip, "flip_crop": flip_crop}


def make_augment(augment: str | Augment | None) -> Augment | None:
    """Give the function that a name stands for; a function stays as it is.

    Raises:
        UnknownNameError: if a name is none of ``AUGMENTS``.
    """
    if not isinstance(augment, str):
        return augment
    if augment not in AUGMENTS:
        raise UnknownNameError("augment", augment, AUGMENTS)
    return AUGMENTS[augment]
