"""MoELoRA: low-rank experts that a router mixes anew for every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import OptionError, check_range
from avalanche_ham.seeding import forked
from avalanche_ham.strategies._base import ContinualStrategy

A_STD = 0.01  # of the release


class ExpertMixture(nn.Module):
    """``x -> sum_e g_e(x) B_e A_e x`` with ``g(x) = softmax(R x)``, for every token by itself.

    All experts are computed at once: their ``A`` are stacked in one ``(r, i)``, their ``B`` in
    one ``(o, r)``, and a token's r hidden values are scaled by the shares of their experts.
    Starts as zero (``B = 0``).

    Args:
        in_features: inputs i of the layer.
        out_features: outputs o of the layer.
        rank: total rank r, a multiple of ``experts``, at most ``min(i, o)``.
        experts: number n of experts, at least 1.

    Raises:
        OptionError: if rank or experts do not fit.
    """

    foldable = False  # what it adds depends on the token

    def __init__(self, in_features: int, out_features: int, rank: int, experts: int) -> None:
        super().__init__()
        check_range("experts", experts, 1, float("inf"))
        limit = min(in_features, out_features)
        if not 1 <= rank <= limit or rank % experts:
            allowed = f"a multiple of the {experts} experts, up to the layer's {limit}"
            raise OptionError("rank", allowed, rank)
        self.experts, self.width = experts, rank // experts
        bound = in_features**-0.5
        self.router = nn.Parameter(torch.empty(experts, in_features).uniform_(-bound, bound))
        self.a = nn.Parameter(torch.empty(rank, in_features).normal_(std=A_STD))
        self.b = nn.Parameter(torch.zeros(out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., i)`` to ``(..., o)``."""
        both = F.linear(x, torch.cat([self.router, self.a]))  # one pass over the tokens
        gates, hidden = both.split([self.experts, self.experts * self.width], dim=-1)
        shares = gates.softmax(dim=-1).repeat_interleave(self.width, dim=-1)  # (..., r)
        return F.linear(hidden * shares, self.b)


class MoELoRAStrategy(ContinualStrategy):
    """Train one mixture of low-rank experts per layer, task after task.

    MoELoRA, the baseline of CoIN (Chen et al., NeurIPS 2024, https://arxiv.org/abs/2403.08350)::

        h = W0 x + s sum_e g_e(x) B_e A_e x,     g(x) = softmax(R x)

    Dense: every expert runs for every token. Nothing is frozen or held back, so it forgets about
    as one LoRA does. It cannot be folded into the weights: evaluation runs the experts beside
    them, which ``eval_seconds`` of a record shows and ``describe`` counts.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: total rank r of a layer's experts, a multiple of their number (the release's: 128).
        targets: name suffixes of the adapted linear layers.
        experts: number of experts of a layer, at least 1 (the release's: 8).
        scale: s, lora_alpha / r, above 0 (the release's: 2).
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, NoMatchError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        experts: int = 4,
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        check_range("scale", scale, 0.0, float("inf"), open_low=True)
        self.rank, self.experts, self.scale = rank, experts, scale
        self._open(model.attach_adapters(targets), kwargs.get("seed", 0))
        super().__init__(model=model, **kwargs)

    def describe(self) -> Any:
        """Give the multiply-adds a token that inference takes beside those of the weights.

        They are as many as the experts' and routers' parameters: each is used once a token.
        """
        branches = (layer.branch for layer in self.adapters.layers.values())
        return {
            "extra_multiply_adds_per_token": sum(
                p.numel() for b in branches for p in b.parameters()
            )
        }

    def refresh(self) -> None:
        """Open the mixtures, for the saved ones to be loaded into."""
        self._open(self.adapters, self.seed)

    def _open(self, adapters: Any, seed: int) -> None:
        with forked(seed, "lora"):
            adapters.open(self._make_branch, scale=self.scale, train_scales=False)

    def _make_branch(self, name: str, layer: nn.Linear) -> nn.Module:
        branch = ExpertMixture(layer.in_features, layer.out_features, self.rank, self.experts)
        return branch.to(layer.weight.device, layer.weight.dtype)
