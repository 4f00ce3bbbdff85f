"""SLAO's start of a new task: the row space of a trained A, in orthonormal rows."""

from __future__ import annotations

import torch
from torch import Tensor


def orthonormal_rows(a: Tensor) -> Tensor:
    """Orthonormalise the rows of A: ``A^T = Q R``, give ``Q^T`` (SLAO, arXiv 2512.23017).

    Column c of Q takes the sign of ``R_cc``, +1 where that is 0, so that the result does not
    hang on how a library chooses its signs. The rows span what those of A span; row norms
    become 1. At least in float32.

    Args:
        a: factors ``(..., r, i)``, r at most i.

    Returns:
        ``(..., r, i)``, with ``Q^T Q = I_r``.
    """
    precise = a.to(torch.promote_types(a.dtype, torch.float32))
    q, r = torch.linalg.qr(precise.mT)
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(q)
    return (q * signs.unsqueeze(-2)).mT.to(a)
