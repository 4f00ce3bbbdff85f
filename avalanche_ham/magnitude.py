"""The largest entries of a tensor, and entries dropped at random: grouping's and merging's."""

from __future__ import annotations

import torch
from torch import Tensor

from avalanche_ham.errors import check_range


def largest(tensor: Tensor, count: int) -> Tensor:
    """Zero all but the ``count`` entries of largest magnitude.

    Exactly ``count`` positions survive: of entries equal in magnitude at the threshold,
    the first in row-major order. Linear time, and the same on every device.

    Args:
        tensor: any shape.
        count: how many positions survive, from 0 to the number of entries.

    Raises:
        OptionError: if ``count`` is outside its range.
    """
    check_range("count", count, 0, tensor.numel())
    if count == 0:
        return torch.zeros_like(tensor)
    magnitude = tensor.abs().flatten()
    threshold = magnitude.topk(count, sorted=False).values.min()
    above, level = magnitude > threshold, magnitude == threshold
    # top-k may pick any of equal entries, so only its threshold is used
    kept = above | (level & (level.cumsum(0) <= count - above.sum()))
    return tensor.masked_fill(~kept.view_as(tensor), 0)


def keep_largest(matrix: Tensor, keep: float) -> Tensor:
    """Prune a matrix by magnitude: ``M * 1[|M| >= thr]`` (Sec. 3.2.2, Eq. 5).

    ``thr`` is such that ``round(keep * M.numel())`` entries survive, see ``largest``
    for equal magnitudes.

    Args:
        matrix: any shape.
        keep: the fraction k that survives, in [0, 1]; the paper keeps 0.6.

    Raises:
        OptionError: if ``keep`` is outside [0, 1].
    """
    check_range("keep", keep, 0, 1)
    return largest(matrix, round(keep * matrix.numel()))


def drop_and_rescale(tensor: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Keep each entry with probability ``density`` and divide it by that (DARE).

    The expectation is ``tensor`` itself (Yu et al. 2024, arXiv 2311.03099, Sec. 3.2).
    At density 1 nothing is drawn and the values are unchanged; at density 0, where the
    expectation cannot hold, the result is zeros.

    Args:
        tensor: any shape.
        density: probability of survival ``1 - p``, in [0, 1].
        generator: a CPU generator, whatever the device of ``tensor``, so that a seed
            means the same mask everywhere.

    Raises:
        OptionError: if ``density`` is outside [0, 1].
    """
    check_range("density", density, 0, 1)
    if density == 1:
        return tensor.clone()
    if density == 0:
        return torch.zeros_like(tensor)
    probability = torch.full(tensor.shape, density)
    kept = torch.bernoulli(probability, generator=generator).bool()
    return tensor.masked_fill(~kept.to(tensor.device), 0) / density
