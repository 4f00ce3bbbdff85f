"""The models whose training steps are compared: the package's layers and the slow loops."""

from __future__ import annotations

import copy
from typing import Any

import torch
from slow_layers import (
    GROUPS,
    LoopedLinear,
    looped_ham,
    looped_sd_lora,
    made_up_history,
    rebound_sd_lora,
)
from torch import Tensor, nn

from avalanche_ham.adapters import (
    AdaptedLinear,
    AdapterSet,
    LowRankTerms,
    low_rank_branches,
)
from avalanche_ham.strategies.sd_lora.direction import direction

LOOPS = {"sd_lora_loop": looped_sd_lora, "sd_lora_released": rebound_sd_lora}
FAST = ("ham", "inflora", "o_lora", "sd_lora")  # the package's own
KINDS = (*FAST, *LOOPS, "ham_naive")


def candidate(vit: nn.Module, kind: str, tasks: int, rank: int) -> nn.Module:
    """Copy the backbone and adapt it as the method does while it trains task ``tasks``."""
    vit = copy.deepcopy(vit, {id(p): p for p in vit.parameters()})  # shares the weights
    torch.manual_seed(tasks)
    slots = kind.startswith("sd_lora")
    history = made_up_history(vit, tasks - 1, rank, slots=slots)
    if kind in ("lora", "ham_naive"):
        return looped_ham(vit, history, rank)
    if kind in LOOPS:
        return LOOPS[kind](vit, history, rank)
    adapters = AdapterSet(vit, ("attn.qkv",), *([LowRankTerms] if slots else []))
    for task, update in enumerate(history):
        joins = {"ham": task % GROUPS if task >= GROUPS else None, "sd_lora": None}
        fixed = direction(update, pairs=2, form="code") if slots else update
        adapters.add(fixed, scale=1.0, to=joins.get(kind, 0 if task else None))
    branch: dict[str, Any] = {"sd_lora": {"slots": ("q", "v")}}.get(kind, {})
    if kind == "inflora":
        branch = {"slots": ("k", "v"), "shared_input": True, "train_input": False}
    trained = kind in ("ham", "sd_lora")
    adapters.open(low_rank_branches(rank, **branch), train_scales=trained)
    vit.adapters = adapters
    if kind == "o_lora":
        vit.old_inputs = {n: torch.cat([u[n].a for u in history]) for n in history[0]}
    return vit


def overlap(vit: nn.Module) -> Tensor | float:
    """O-LoRA's penalty: the old adapters' inputs times the new one's."""
    old = getattr(vit, "old_inputs", {})
    return sum((a @ vit.get_submodule(n).branch.a.T).abs().sum() for n, a in old.items())


def state_bytes(vit: nn.Module) -> int:
    """Bytes that a method keeps on the device beside backbone, branch and optimiser."""
    kept = list(getattr(vit, "old_inputs", {}).values())
    for module in vit.modules():
        if isinstance(module, LoopedLinear):
            kept += [t for term in module.terms for pair in term for t in pair]
        elif isinstance(module, AdaptedLinear):
            kept += [
                *module.terms.buffers(),
                *([module.fixed] * (module.fixed is not None)),
            ]
    return sum(t.numel() * t.element_size() for t in kept)
