"""Augmentation on the device, one call per batch, from uint8 images to normalised inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN = STD = (0.5, 0.5, 0.5)  # of EfficientNet-Lite, and so of every network here


def normalised(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Resize uint8 images ``(N, 3, H, W)`` and normalise them, to ``(N, 3, size, size)``."""
    pixels = _scaled(images, mean, std)
    shrinks = size < min(images.shape[-2:])
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=shrinks)


def random_views(
    images: Tensor,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    scale: tuple[float, float] = (0.4, 1.0),
    ratio: float = 4 / 3,
    generator: torch.Generator,
) -> Tensor:
    """Cut a random part out of each image, flip half of them, resize and normalise.

    Bilinear without antialiasing: meant for parts that are enlarged, or hardly shrunk.

    Args:
        images: uint8, ``(N, 3, H, W)``.
        size: side of the output.
        scale: smallest and largest area of the part, as a fraction of the image.
        ratio: largest width / height of the part (the smallest is its inverse), at least 1.
        generator: where the random numbers come from, a CPU generator.

    Returns:
        Float, ``(N, 3, size, size)``, on the device of the images.
    """
    n = len(images)
    area, shape, x, y, coin = torch.rand(5, n, generator=generator)
    area = scale[0] + (scale[1] - scale[0]) * area
    stretch = ratio ** (shape - 0.5)  # square root of width / height
    width, height = (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)
    grid = torch.zeros(n, 2, 3)
    grid[:, 0, 0] = width * (coin < 0.5).float().mul(2).sub(1)
    grid[:, 1, 1] = height
    grid[:, 0, 2] = (1 - width) * (2 * x - 1)
    grid[:, 1, 2] = (1 - height) * (2 * y - 1)
    grid = F.affine_grid(grid.to(images.device), [n, 3, size, size], align_corners=False)
    pixels = _scaled(images, mean, std)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def coarse(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Shrink uint8 images ``(N, 3, H, W)`` to a random side of 24 to 40 pixels, all to the same.

    What is cut from them looks like an image of CIFAR, so features learn to bear such blur.
    """
    side = int(torch.randint(24, 41, (), generator=generator))
    small = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8)


def mix(inputs: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Mix each input with another one: mixup or cutmix, at even odds.

    Args:
        inputs: ``(N, C, H, W)``, images or feature maps.

    Returns:
        The mixed inputs, the partners ``(N,)`` and the share of the first in each mixture.
    """
    partners = torch.randperm(len(inputs), generator=generator).to(inputs.device)
    share, coin, x, y = torch.rand(4, generator=generator).tolist()
    if coin < 0.5:
        return share * inputs + (1 - share) * inputs[partners], partners, share
    height, width = inputs.shape[-2:]
    h, w = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
    top, left = round(y * (height - h)), round(x * (width - w))
    mixed = inputs.clone()
    part = (..., slice(top, top + h), slice(left, left + w))
    mixed[part] = inputs[partners][part]
    return mixed, partners, 1 - h * w / (height * width)


def _scaled(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    pixels = images.float() / 255
    centre = torch.tensor(mean, device=images.device).view(3, 1, 1)
    return (pixels - centre) / torch.tensor(std, device=images.device).view(3, 1, 1)
