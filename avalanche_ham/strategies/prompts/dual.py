"""DualPrompt: one prefix that all tasks share and one of each task's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avalanche_ham.errors import OptionError, check_range, check_whole
from avalanche_ham.strategies.prompts.prompting import Prompting, as_prefix, cosines
from avalanche_ham.strategies.prompts.slices import TaskSlices

__all__ = ["DualPrompts"]

KEY_START = 0.01


class DualPrompts(nn.Module):
    """A general prefix in the first blocks, an expert prefix per task in the next ones.

    Training on task t uses expert t and pulls its key to the queries: penalty
    ``-pull * mean_x cos(q(x), key_t)``. Evaluation takes, for each image on its own, the
    expert of ``argmax_t cos(q(x), key_t)`` (Wang et al., DualPrompt, ECCV 2022, Sec. 4).
    A new expert starts as a copy of the last task's; the first, and the general prefix, uniform
    in [-1, 1]. A key is copied in no release and starts uniform in [0, 0.01), as in the authors'
    own (https://github.com/google-research/l2p): keys that start far apart stay where they are
    and pick at random. The general prefix goes on training and nothing protects it.

    Args:
        width: d, of the ViT's tokens and features.
        heads: attention heads; a prefix row is split among them.
        depth: blocks of the ViT. Blocks past it are left out: with 3 blocks the defaults give
            a general prefix in blocks 0 and 1 and experts in block 2 alone.
        general_length: rows of keys, and of values, of the general prefix, at least 1.
        expert_length: the same of the experts, at least 1.
        general_blocks: number of blocks, from the first on, with the general prefix.
        expert_blocks: number of blocks after those with experts, at least 1.
        pull: weight of the pull term, at least 0.
        copy_previous: start a new expert from the last task's, else afresh.

    Raises:
        OptionError: if an argument is outside its range or no block is left for experts.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        depth: int,
        general_length: int = 5,
        expert_length: int = 5,
        general_blocks: int = 2,
        expert_blocks: int = 3,
        pull: float = 1.0,
        copy_previous: bool = True,
    ) -> None:
        super().__init__()
        check_whole("general_length", general_length, 1)
        check_whole("expert_length", expert_length, 1)
        check_whole("expert_blocks", expert_blocks, 1)
        check_range("pull", pull, 0.0, float("inf"))
        if not 0 <= general_blocks < depth:
            allowed = f"from 0 to {depth - 1}"
            raise OptionError("general_blocks", allowed, general_blocks)
        self.pull, self.copy_previous = pull, copy_previous
        self.general_at = range(general_blocks)
        last = min(general_blocks + expert_blocks, depth)
        self.expert_at = range(general_blocks, last)
        split = (heads, width // heads)
        shape = (len(self.general_at), 2, general_length, *split)
        self.general = nn.Parameter(torch.empty(shape).uniform_(-1, 1))
        self.experts = TaskSlices(len(self.expert_at), 2, expert_length, *split)
        self.keys = TaskSlices(width)

    @torch.no_grad()
    def grow(self) -> None:
        """Give a new task its expert and key; those of earlier tasks are constants from now."""
        if self.copy_previous and len(self.experts):
            self.experts.grow(self.experts.new.clone())
        else:
            self.experts.grow(torch.empty(1, *self.experts.old.shape[1:]).uniform_(-1, 1))
        self.keys.grow(KEY_START * torch.rand(1, *self.keys.old.shape[1:]))

    def choose(self, query: Tensor) -> Tensor:
        """Give the task ``(N,)`` whose key is nearest to each query ``(N, d)``."""
        return cosines(query, self.keys.rows()).argmax(dim=1)

    def forward(self, query: Tensor) -> Prompting:
        """Give the prefixes for queries ``(N, d)``; before any task, the general one alone."""
        prefix = as_prefix(self.general[None], self.general_at)
        if not len(self.keys):
            return Prompting(prefix=prefix)
        penalty = None
        if self.training:
            experts: Tensor = self.experts.new  # (1, blocks, 2, L, heads, d_h)
            penalty = -self.pull * cosines(query, self.keys.new).mean()
        else:
            experts = self.experts.rows()[self.choose(query)]  # (N, blocks, ...)
        prefix |= as_prefix(experts, self.expert_at)
        return Prompting(prefix=prefix, penalty=penalty)
