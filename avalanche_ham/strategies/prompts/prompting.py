"""What a prompt module answers to a query, and the functions that all three share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.backbones.seams import Prefix

__all__ = ["Prompting", "as_prefix", "cosines"]


class Prompting(NamedTuple):
    """What to put into the seams of the ViT, for each image of a batch.

    Attributes:
        tokens: prompts among the tokens, ``(N, P, d)``, or None.
        prefix: block -> keys and values, each ``(N or 1, heads, P, d_h)``, or None.
        penalty: a scalar to add to the training loss, or None.
    """

    tokens: Tensor | None = None
    prefix: Prefix | None = None
    penalty: Tensor | None = None


def cosines(query: Tensor, keys: Tensor) -> Tensor:
    """Give the cosines of queries ``(N, d)`` with keys ``(M, d)``, ``(N, M)`` in their precision.

    Example:
        >>> import torch
        >>> cosines(torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, -1.0]]))
        tensor([[1., 0.]])
    """
    return F.normalize(query, dim=1) @ F.normalize(keys.to(query.dtype), dim=1).T


def as_prefix(prompts: Tensor, blocks: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
    """Lay prompts out as the keys and values of some blocks.

    Element ``[n, i, s, p, h, c]`` becomes element ``[n, h, p, c]`` of the keys (s = 0) or the
    values (s = 1) of ``blocks[i]``. The axes are moved, not reshaped: reshaping alone would
    mix positions with heads.

    Args:
        prompts: shape ``(N or 1, len(blocks), 2, P, heads, d_h)``.
        blocks: indices of the blocks, in the order of the second axis.
    """
    moved = prompts.transpose(3, 4)  # (N, blocks, 2, heads, P, d_h)
    return {block: (moved[:, i, 0], moved[:, i, 1]) for i, block in enumerate(blocks)}
