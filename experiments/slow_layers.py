"""How adapters are stacked elsewhere, as small reference layers: one term after the other.

``looped_ham``: one adapter of growing rank per group, all active, as peft applies them.
``looped_sd_lora``: a loop over all old adapters of q and of v, each divided by the norms of its
factors at every forward: the arithmetic of SD-LoRA's released layer and nothing else.
``rebound_sd_lora``: the same loop with that layer's bookkeeping: in every forward it makes four
linear modules and binds each old adapter's matrices to them in turn, as new parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.adapters import LowRank, Update, concatenate

GROUPS = 2


class LoopedLinear(nn.Module):
    """Frozen factors and one trainable pair per slot, applied beside the layer one by one.

    Args:
        base: the frozen layer.
        terms: for each term a factor pair per slot.
        slots: the rows of the output that each pair changes.
        rank: of the trainable pairs.
        normalise: divide each frozen pair by the norms of its factors.
    """

    def __init__(
        self,
        base: nn.Linear,
        terms: Sequence[Sequence[LowRank]],
        slots: Sequence[slice],
        rank: int,
        *,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.base, self.terms, self.slots = base, terms, slots
        self.normalise = normalise
        like, inputs = base.weight, base.in_features
        heights = [len(range(base.out_features)[rows]) for rows in slots]
        self.a = nn.ParameterList(
            nn.Parameter(like.new_empty(rank, inputs).uniform_(-1, 1) * inputs**-0.5) for _ in slots
        )
        self.b = nn.ParameterList(nn.Parameter(like.new_zeros(h, rank)) for h in heights)
        self.scales = nn.Parameter(like.new_ones(len(terms) + 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        for slot, rows in enumerate(self.slots):
            change = F.linear(F.linear(x, self.a[slot]), self.b[slot]) * self.scales[-1]
            for scale, term in zip(self.scales, self.terms):
                a, b = term[slot]
                one = scale * F.linear(F.linear(x, a), b)
                if self.normalise:
                    one = one / (a.norm() * b.norm())
                change = change + one
            if rows == slice(None):
                y = y + change
            else:
                y[..., rows] += change
        return y


class ReboundLinear(LoopedLinear):
    """The loop, through modules whose weights are bound anew for every old adapter."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        for slot, rows in enumerate(self.slots):
            height, rank = self.b[slot].shape
            down = nn.Linear(x.shape[-1], rank, bias=False)
            up = nn.Linear(rank, height, bias=False)
            change = F.linear(F.linear(x, self.a[slot]), self.b[slot]) * self.scales[-1]
            for scale, term in zip(self.scales, self.terms):
                for module, matrix in zip((down, up), term[slot], strict=True):
                    module.weight = nn.Parameter(matrix, requires_grad=False)
                    module.to(x.device)
                change = change + scale * (up(down(x)) / (up.weight.norm() * down.weight.norm()))
            y[..., rows] += change
        return y


def looped_ham(vit: nn.Module, history: Sequence[Update], rank: int) -> nn.Module:
    """Put each group's growing factors beside every qkv; tasks join the groups in turn."""
    for name, qkv in qkv_layers(vit):
        groups = [history[g::GROUPS] for g in range(GROUPS) if history[g::GROUPS]]
        terms = [[concatenate([update[name] for update in group])] for group in groups]
        layer = LoopedLinear(qkv, terms, [slice(None)], rank)
        layer.scales.requires_grad_(bool(history))  # without: one plain LoRA
        vit.get_submodule(name.rpartition(".")[0]).qkv = layer
    return vit


def looped_sd_lora(
    vit: nn.Module, history: Sequence[Update], rank: int, layer: type = LoopedLinear
) -> nn.Module:
    """Loop over all old pairs of q and v beside every qkv."""
    for name, qkv in qkv_layers(vit):
        width = qkv.out_features // 3
        slots = [slice(0, width), slice(2 * width, 3 * width)]
        terms = [_apart(update[name], slots) for update in history]
        looped = layer(qkv, terms, slots, rank, normalise=True)
        vit.get_submodule(name.rpartition(".")[0]).qkv = looped
    return vit


def rebound_sd_lora(vit: nn.Module, history: Sequence[Update], rank: int) -> nn.Module:
    """Do the same with modules bound anew."""
    return looped_sd_lora(vit, history, rank, ReboundLinear)


def qkv_layers(vit: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Give every block's qkv with its name."""
    return [(f"blocks.{i}.attn.qkv", b.attn.qkv) for i, b in enumerate(vit.blocks)]


def _apart(wide: LowRank, slots: Sequence[slice]) -> list[LowRank]:
    """Cut a wide pair (A stacked, B block-placed) into one pair per slot."""
    tops, columns = wide.a.chunk(len(slots)), wide.b.chunk(len(slots), dim=1)
    return [
        LowRank(a, b[rows].contiguous()) for a, b, rows in zip(tops, columns, slots, strict=True)
    ]


def made_up_history(vit: nn.Module, tasks: int, rank: int, *, slots: bool = False) -> list[Update]:
    """Draw the adapters of finished tasks: of the whole qkv, or of q and v apart."""
    history = []
    for _ in range(tasks):
        update = {}
        for name, qkv in qkv_layers(vit):
            outputs, inputs = qkv.weight.shape
            wide = 2 * rank if slots else rank
            a = torch.randn(wide, inputs, device=qkv.weight.device) / inputs
            b = torch.randn(outputs, wide, device=qkv.weight.device) / outputs
            if slots:
                third = outputs // 3
                b[:third, rank:] = b[third : 2 * third] = b[2 * third :, :rank] = 0
            update[name] = LowRank(a, b)
        history.append(update)
    return history
