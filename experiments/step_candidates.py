"""The models whose training steps are compared: the package's layers and the slow loops."""

from __future__ import annotations

import copy
from itertools import starmap
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
    LowRank,
    LowRankTerms,
    low_rank_branches,
)
from avalanche_ham.merging.sign_alignment import SignAlignment
from avalanche_ham.penalties.contrastive import supervised_contrastive
from avalanche_ham.strategies.sd_lora.direction import direction

LOOPS = {"sd_lora_loop": looped_sd_lora, "sd_lora_released": rebound_sd_lora}
FAST = ("lora", "ham", "ham_plus", "slao", "pam", "inflora", "o_lora", "sd_lora")  # ours
CONTRAST = 0.1  # HAM+'s weight of the contrastive loss
KINDS = (*FAST[1:], *LOOPS, "ham_naive")
KEPT = {"slao": 2, "pam": 1}  # LoRAs beside the trained one: merged and last, or global
ALIGN = SignAlignment()


def candidate(vit: nn.Module, kind: str, tasks: int, rank: int) -> nn.Module:
    """Copy the backbone and adapt it as the method does while it trains task ``tasks``."""
    vit = copy.deepcopy(vit, {id(p): p for p in vit.parameters()})  # shares the weights
    torch.manual_seed(tasks)
    slots = kind.startswith("sd_lora")
    history = made_up_history(vit, tasks - 1, rank, slots=slots)
    if kind in ("lora", "lora_timm", "ham_naive"):
        return looped_ham(vit, history, rank)
    if kind in LOOPS:
        return LOOPS[kind](vit, history, rank)
    adapters = AdapterSet(vit, ("attn.qkv",), *([LowRankTerms] if slots else []))
    is_ham = kind in ("ham", "ham_plus")
    if kind in KEPT:  # what is trained was merged or stands beside, not below
        vit.kept, history = history[: KEPT[kind]], []
    for task, update in enumerate(history):
        joins = None if kind == "sd_lora" or not task else 0  # None: a term of its own
        if is_ham:
            joins = task % GROUPS if task >= GROUPS else None
        fixed = direction(update, pairs=2, form="code") if slots else update
        adapters.add(fixed, scale=1.0, to=joins)
    branch: dict[str, Any] = {"sd_lora": {"slots": ("q", "v")}}.get(kind, {})
    if kind == "inflora":
        branch = {"slots": ("k", "v"), "shared_input": True, "train_input": False}
    trained = is_ham or kind == "sd_lora"
    adapters.open(low_rank_branches(rank, **branch), train_scales=trained)
    vit.adapters = adapters
    if kind == "o_lora":
        vit.old_inputs = {n: torch.cat([u[n].a for u in history]) for n in history[0]}
    return vit


def further_loss(vit: nn.Module, kind: str, features: Tensor, targets: Tensor) -> Tensor | float:
    """O-LoRA's penalty, old adapters' inputs times the new one's; HAM+'s loss on the features."""
    if kind == "ham_plus":
        return CONTRAST * supervised_contrastive(features, targets)
    old = getattr(vit, "old_inputs", {})
    return sum((a @ vit.get_submodule(n).branch.a.T).abs().sum() for n, a in old.items())


def after_step(vit: nn.Module, kind: str) -> None:
    """Align PAM's signs; here after every step, the most that it can cost."""
    if kind == "pam":
        clone, (known,) = vit.adapters.current(), vit.kept
        pairs = {name: zip(clone[name], known[name]) for name in known}
        vit.adapters.assign({name: LowRank(*starmap(ALIGN, pairs[name])) for name in pairs})


def state_bytes(vit: nn.Module) -> int:
    """Bytes that a method keeps on the device beside backbone, branch and optimiser."""
    kept = list(getattr(vit, "old_inputs", {}).values())
    kept += [t for update in getattr(vit, "kept", []) for pair in update.values() for t in pair]
    for module in vit.modules():
        if isinstance(module, LoopedLinear):
            kept += [t for term in module.terms for pair in term for t in pair]
        elif isinstance(module, AdaptedLinear):
            kept += [
                *module.terms.buffers(),
                *([module.fixed] * (module.fixed is not None)),
            ]
    return sum(t.numel() * t.element_size() for t in kept)
