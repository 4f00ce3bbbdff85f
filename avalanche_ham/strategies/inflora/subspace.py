"""InfLoRA's subspaces: where old tasks live in a layer's inputs, and where there is room.

InfLoRA (Liang and Li, CVPR 2024), Sec. 3.2 (choice of A) and 3.3 (DualGPM). Pure functions
on one layer; d is the width of its input. All of it runs in float64 on the CPU: the energies
span many orders of magnitude.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avalanche_ham.errors import UnknownNameError
from avalanche_ham.precision import in_float64

KINDS = ("remove", "retain")
ROW_SCALE = 3**-0.5  # norm of A's rows: what the Kaiming rule of LoRA gives on average


class Subspace(NamedTuple):
    """The memory of a layer: an orthonormal ``basis (d, m)`` and what it stands for.

    ``remove``: the basis spans what old tasks use. ``retain``: it spans what is still free;
    the smaller of the two is kept, so m is at most about d/2.
    """

    basis: Tensor
    kind: str = "remove"

    @property
    def free(self) -> int:
        """The number of directions that no old task uses, from 0 to d."""
        width, m = self.basis.shape
        return m if self.kind == "retain" else width - m


def empty_subspace(width: int) -> Subspace:
    """Give the memory before the first task: nothing is used."""
    return Subspace(torch.zeros(width, 0, dtype=torch.float64))


class SecondMoment:
    """Streamed ``C = (1/n) sum x x^T`` over all samples and tokens, shape ``(d, d)``.

    Products in fp32 even under autocast, sums in fp64.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    @torch.no_grad()
    def add(self, inputs: Tensor) -> None:
        """Add inputs of shape ``(..., d)``."""
        with torch.autocast(inputs.device.type, enabled=False):
            x = inputs.float().flatten(0, -2)  # (n, d)
            product = in_float64(x.T @ x)
        self.total = product if self.total is None else self.total + product
        self.count += len(x)

    def result(self) -> Tensor:
        """Give C in float64 on the CPU.

        Raises:
            RuntimeError: if nothing was added.
        """
        if self.total is None:
            raise RuntimeError("no inputs were added")
        return (self.total / self.count).cpu()


def free_basis(space: Subspace) -> Tensor:
    """Give an orthonormal basis ``(d, free)`` of what no old task uses.

    Raises:
        UnknownNameError: if the kind is neither ``remove`` nor ``retain``.
    """
    if space.kind not in KINDS:
        raise UnknownNameError("kind", space.kind, KINDS)
    if space.kind == "retain":
        return space.basis
    used = space.basis.shape[1]
    return torch.linalg.qr(space.basis, mode="complete").Q[:, used:]


def free_directions(moment: Tensor, space: Subspace) -> tuple[Tensor, Tensor]:
    """Sort the free space by how much of the current inputs it holds (Sec. 3.2).

    They are the left singular vectors of ``C - M M^T C`` (remove) or ``M M^T C`` (retain).
    With F a basis of the free space these are ``F U``, U of ``F^T C``: the same vectors, but
    they stay in the free space to the last bit, also where the inputs have no energy.

    Args:
        moment: C of the current task, ``(d, d)``.
        space: the layer's memory.

    Returns:
        Orthonormal directions ``(d, free)`` and their energies, the squared singular values,
        ``(free,)``, largest first.
    """
    basis = free_basis(space)
    if not basis.shape[1]:
        return basis, basis.new_zeros(0)
    vectors, values, _ = torch.linalg.svd(basis.T @ moment.double(), full_matrices=False)
    return basis @ vectors, values.square()


def input_factor(moment: Tensor, space: Subspace, rank: int) -> Tensor:
    """Choose the fixed factor A of a new task: ``A M = 0``, strong on its inputs (Sec. 3.2).

    Rows are the leading free directions, scaled to norm ``1/sqrt(3)``. Where fewer than
    ``rank`` directions are free, the rows left over are zero: they train nothing, and old
    tasks stay protected. (The released code takes noise directions there.)

    Args:
        moment: C of the new task's inputs, before training, ``(d, d)``.
        space: the layer's memory of old tasks.
        rank: rows r of A.

    Returns:
        A of shape ``(r, d)``, float64.
    """
    directions, _ = free_directions(moment, space)
    factor = moment.new_zeros(rank, len(moment), dtype=torch.float64)
    rows = directions[:, :rank].T * ROW_SCALE
    factor[: len(rows)] = rows
    return factor


def energy_threshold(start: float, end: float, task: int, n_tasks: int) -> float:
    """Give ``start + (end - start) t / T``, for task t from 0; ``end`` beyond T tasks."""
    return start + (end - start) * min(task / n_tasks, 1.0)


def update_subspace(moment: Tensor, space: Subspace, threshold: float) -> Subspace:
    """Put what the trained task uses into the memory (DualGPM, Sec. 3.3).

    ``remove``: the leading free directions join the memory until it covers ``threshold`` of
    the energy. ``retain``: they leave the free space until less than ``1 - threshold`` of the
    energy is in it. A memory of more than d/2 used directions turns into the free ones, for
    good. C being a second moment, its energy is a fourth power of the inputs.

    Args:
        moment: C of the task's inputs, after training, ``(d, d)``.
        space: the memory so far.
        threshold: fraction of the energy to protect, in [0, 1].
    """
    width = len(moment)
    directions, energies = free_directions(moment, space)
    total = moment.double().square().sum()
    if total > 0:
        k = _n_used((energies / total).tolist(), space, threshold)
        if space.kind == "retain":
            return Subspace(directions[:, k:].contiguous(), "retain")
        space = Subspace(torch.cat([space.basis, directions[:, :k]], dim=1))
    if space.kind == "remove" and space.basis.shape[1] > width / 2:
        return Subspace(free_basis(space).contiguous(), "retain")
    return space


def _n_used(shares: list[float], space: Subspace, threshold: float) -> int:
    """Count the leading free directions that the task makes use of."""
    first = space.kind == "remove" and not space.basis.shape[1]
    if first:  # as the released code: the direction that reaches the threshold stays free
        covered = [sum(shares[: k + 1]) for k in range(len(shares))]
        return max(1, sum(c < threshold for c in covered))
    left = sum(shares)  # of the energy, not covered yet
    for k, share in enumerate(shares):
        enough = left < 1 - threshold if space.kind == "retain" else 1 - left >= threshold
        if enough:
            return k
        left -= share
    return len(shares)
