"""CODA-Prompt: every image mixes its prefix from components that grow by a slice a task."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from avalanche_ham.errors import OptionError, check_range, check_whole
from avalanche_ham.heads.loss import at_least_fp32
from avalanche_ham.strategies.prompts.prompting import Prompting, as_prefix
from avalanche_ham.strategies.prompts.slices import TaskSlices

__all__ = [
    "DecomposedPrompts",
    "component_weights",
    "deviation",
    "orthonormal_rows",
]
SETS = ("keys", "attention", "prompts")

_log = logging.getLogger(__name__)


def component_weights(query: Tensor, attention: Tensor, keys: Tensor) -> Tensor:
    """Give ``w_m = cos(q * A_m, K_m)``: no softmax, no selection (Sec. 4).

    The products ``q * A_m`` are never formed: numerator and norm are products of matrices.

    Args:
        query: shape ``(N, d)``.
        attention: A, shape ``(M, d)``, any leading axes: ``(..., M, d)``.
        keys: K, the same shape.

    Returns:
        Weights in [-1, 1], shape ``(..., N, M)``.
    """
    aligned = query @ (attention * keys).mT
    square = query.square() @ attention.square().mT  # of the norm of q * A_m
    key_norms = keys.norm(dim=-1).clamp_min(1e-12).unsqueeze(-2)
    return aligned / (square.clamp_min(1e-24).sqrt() * key_norms)


def deviation(rows: Tensor) -> Tensor:
    """Give the sum of the entries of ``(X X' - I)^2`` for rows X ``(..., M, d)``."""
    gram = rows @ rows.mT
    return (gram - torch.eye(rows.shape[-2]).to(gram)).square().sum(dim=(-2, -1))


def orthonormal_rows(count: int, earlier: Tensor) -> Tensor:
    """Draw unit vectors, orthogonal to each other and to all earlier ones (Sec. 4).

    Standard normal draws, Gram-Schmidt in double precision. Earlier vectors have been trained
    and are not orthogonal to each other, so it is their span that is left out. Where that span
    leaves fewer than ``count`` directions, the new vectors are orthogonal to each other only.

    Args:
        count: number of new vectors, from 1 to d.
        earlier: shape ``(m, d)``, m may be 0.

    Returns:
        Rows, shape ``(count, d)``, on the CPU in float32.
    """
    width = earlier.shape[1]
    draws = torch.randn(count, width, dtype=torch.float64)
    if 0 < len(earlier) <= width - count:
        basis, _ = torch.linalg.qr(earlier.cpu().double().T)  # (d, m)
        for _ in range(2):  # once more, against the rounding of the first time
            draws = draws - (draws @ basis) @ basis.T
    rows, triangle = torch.linalg.qr(draws.T)
    signs = torch.where(triangle.diagonal() < 0, -1.0, 1.0)  # as Gram-Schmidt has it
    return (rows * signs).T.float()


class DecomposedPrompts(nn.Module):
    """Components P_m ``(L, d)`` with keys K_m and attention A_m ``(d,)``, for each block.

    ``p(x) = sum_m cos(q(x) * A_m, K_m) P_m``; the first half of its L rows are prefix keys, the
    second half values. A task adds a slice of components; only that slice trains, earlier ones
    take part as constants (Smith et al., CODA-Prompt, CVPR 2023, Sec. 4). Every slice starts
    orthonormal to all before it; the penalty ``ortho * sum over blocks of [ortho(K) + ortho(A) +
    ortho(P)]`` on all rows keeps it so.

    In d dimensions K and A have room for d orthogonal components; from then on a new slice is
    orthogonal within itself only, and the log says so.

    Args:
        width: d, of the ViT's tokens and features.
        heads: attention heads; a prefix row is split among them.
        depth: blocks of the ViT; ``blocks`` past it are left out.
        components: new components of each task, from 1 to d. The paper's 100 over ten tasks
            are 10; the released code splits 100 among the tasks and so gives 2 at 50.
        length: L, an even number: L/2 rows of keys, L/2 of values.
        blocks: number of blocks, from the first on, with a prefix, at least 1.
        ortho: weight of the penalty, at least 0: the paper's 0.1; the released code now has 0.

    Raises:
        OptionError: if an argument is outside its range.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        depth: int,
        components: int = 10,
        length: int = 8,
        blocks: int = 5,
        ortho: float = 0.1,
    ) -> None:
        super().__init__()
        check_whole("components", components, 1, width)
        check_whole("blocks", blocks, 1)
        check_range("ortho", ortho, 0.0, float("inf"))
        if length < 2 or length % 2:
            raise OptionError("prompt_length", "an even number from 2 on", length)
        self.heads, self.components, self.ortho = heads, components, ortho
        self.at = range(min(blocks, depth))
        self.keys = TaskSlices(len(self.at), width)
        self.attention = TaskSlices(len(self.at), width)
        self.prompts = TaskSlices(len(self.at), length, width)
        self._among_old: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def grow(self) -> None:
        """Give a new task its slice of components; earlier ones are constants from now."""
        for slices in (self.keys, self.attention, self.prompts):
            earlier = slices.rows().flatten(2)  # (M, blocks, row)
            parts = [orthonormal_rows(self.components, e) for e in earlier.unbind(1)]
            slices.grow(torch.stack(parts, dim=1).reshape(-1, *slices.old.shape[1:]))
        width, count = self.keys.old.shape[2], len(self.keys)
        if width < count <= width + self.components:  # the first time only
            _log.warning(
                "%d components do not fit orthogonally into %d dimensions: from this task on "
                "a new slice is orthogonal within itself only",
                count,
                width,
            )

    def forward(self, query: Tensor) -> Prompting:
        """Mix the prefixes for queries ``(N, d)``; before any task there are none.

        Earlier rows and new ones are multiplied apart, so that no gradient is formed of constants
        and a step does not grow with the square of the tasks.
        """
        if not len(self.keys):
            return Prompting()
        early, new = zip(*map(self._parts, SETS), strict=True)  # each keys, attention, prompts
        query = query.to(new[0].dtype)
        mixed: Tensor = sum(  # (blocks, N, L * d)
            component_weights(query, attention, keys) @ prompts
            for keys, attention, prompts in (early, new)
        )
        width = self.keys.old.shape[2]
        shape = (2, self.prompts.old.shape[2] // 2, self.heads, width // self.heads)
        penalty = None
        if self.training and self.ortho > 0:
            penalty = self.ortho * torch.cat(list(map(self._ortho_penalty, SETS))).sum()
        prefix = as_prefix(mixed.transpose(0, 1).unflatten(2, shape), self.at)
        return Prompting(prefix=prefix, penalty=penalty)

    def _parts(self, name: str) -> tuple[Tensor, Tensor]:
        """Give earlier and newest rows of each block, in at least fp32, ``(blocks, M, row)``."""
        slices = getattr(self, name)
        old, new = (at_least_fp32(s).flatten(2).transpose(0, 1) for s in (slices.old, slices.new))
        return old, new

    def _ortho_penalty(self, name: str) -> Tensor:
        """Give the mean of the entries of ``(X X' - I)^2`` for all rows X of each block.

        The part among earlier rows is a constant, summed once a task.
        """
        (old, new), slices = self._parts(name), getattr(self, name)
        known, among_old = self._among_old.get(name, (None, old))
        if known is not slices.old:
            among_old = deviation(old)
            self._among_old[name] = slices.old, among_old
        across = (new @ old.mT).square().sum(dim=(-2, -1))
        return (among_old + 2 * across + deviation(new)) / len(slices) ** 2
