"""Keep a new adapter's input directions away from those of the old ones."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from avalanche_ham.errors import UnknownNameError

REDUCTIONS = ("sum", "mean")


def overlap(a: Tensor, old: Tensor) -> Tensor:
    """Give ``|A A_old^T|``: how far each new direction points along each old one.

    O-LoRA (Wang et al. 2023, https://arxiv.org/abs/2310.14152), Sec. 3.

    Args:
        a: new input factors, ``(..., r, i)``.
        old: all earlier tasks' input factors, ``(..., R, i)``.

    Returns:
        Shape ``(..., r, R)``; zero where the rows are orthogonal.
    """
    return (a @ old.mT).abs()


def orthogonality(pairs: Iterable[tuple[Tensor, Tensor]], reduction: str = "sum") -> Tensor:
    """Add up, or average, the overlaps of all layers.

    The released code adds up absolute values where the paper squares them; so does this. The
    sum grows with the tasks (R) and the layers, so a fixed weight counts for more and more; the
    mean does not.

    Args:
        pairs: new and old input factors of each layer, see ``overlap``; at least one.
        reduction: one of ``sum`` or ``mean``.

    Raises:
        UnknownNameError: if the reduction is neither.
    """
    if reduction not in REDUCTIONS:
        raise UnknownNameError("reduction", reduction, REDUCTIONS)
    found = torch.cat([overlap(a, old).flatten() for a, old in pairs])
    return found.sum() if reduction == "sum" else found.mean()
