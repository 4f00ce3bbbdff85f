"""L2P's pool: prompts that all tasks share, chosen for each image by the cosine of keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.errors import check_range, check_whole
from avalanche_ham.strategies.prompts.prompting import Prompting, cosines

__all__ = ["PromptPool"]

START = 0.01  # keys and prompts start uniform below it


class PromptPool(nn.Module):
    """M prompts P_m ``(L, d)`` with keys k_m ``(d,)``; each image takes the nearest N.

    ``score_m = cos(q(x), k_m)``; the prompts of the N largest scores go among the tokens. The
    choice cannot be differentiated, so the keys learn from the pull term alone:
    ``-pull * mean_x sum_selected cos(q(x), k_m)``. All prompts compete, in training and in
    evaluation (Wang et al., Learning to Prompt for Continual Learning, CVPR 2022, Sec. 4).
    Keys and prompts start uniform in [0, 0.01), and the defaults are the authors' own code's
    (https://github.com/google-research/l2p). The size never changes.

    Args:
        width: d, of the ViT's tokens and features.
        pool_size: M, at least 1.
        length: L, tokens of a prompt, at least 1.
        top_n: N, from 1 to M.
        pull: weight of the pull term, at least 0.

    Raises:
        OptionError: if an argument is outside its range.
    """

    def __init__(
        self,
        *,
        width: int,
        pool_size: int = 10,
        length: int = 10,
        top_n: int = 4,
        pull: float = 1.0,
    ) -> None:
        super().__init__()
        check_whole("pool_size", pool_size, 1)
        check_whole("prompt_length", length, 1)
        check_whole("top_n", top_n, 1, pool_size)
        check_range("pull", pull, 0.0, float("inf"))
        self.top_n, self.pull = top_n, pull
        self.keys = nn.Parameter(START * torch.rand(pool_size, width))
        self.prompts = nn.Parameter(START * torch.rand(pool_size, length, width))

    def forward(self, query: Tensor) -> Prompting:
        """Choose prompts ``(N, top_n * L, d)`` for queries ``(N, d)``."""
        scores, chosen = cosines(query, self.keys).topk(self.top_n, dim=1)  # (N, top_n)
        # An embedding, since the gradient of plain indexing adds up in any order on CPUs.
        taken = F.embedding(chosen, self.prompts.flatten(1))  # (N, top_n, L * d)
        tokens = taken.unflatten(2, self.prompts.shape[1:]).flatten(1, 2)
        penalty = -self.pull * scores.sum(dim=1).mean() if self.training else None
        return Prompting(tokens=tokens, penalty=penalty)
