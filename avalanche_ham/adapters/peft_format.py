"""To and from peft's on-disk LoRA format, so that a result can be used without this package."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from avalanche_ham.adapters.low_rank import LowRank, Update
from avalanche_ham.errors import DataError, OptionError, check_path
from avalanche_ham.files import read_regular
from avalanche_ham.precision import back_to, in_float64

PREFIX = "base_model.model."
RANK_TOLERANCE = 1e-7  # smaller singular values, relative to the largest, are noise
KEEPS_BASE = (
    True,
    False,
    None,
    "gaussian",
    "eva",
    "orthogonal",
)  # others change W0 too


def factorise(delta: Tensor) -> LowRank:
    """Split a dense change ``(o, i)`` into factors of its numerical rank, at least 1.

    The error in the Frobenius norm is at most ``1e-7 sqrt(min(o, i))`` of the largest
    singular value.
    """
    u, s, v = torch.linalg.svd(in_float64(delta), full_matrices=False)
    rank = max(1, int((s > RANK_TOLERANCE * s[0]).sum()))
    root = s[:rank].sqrt()
    return LowRank(back_to(root[:, None] * v[:rank], delta), back_to(u[:, :rank] * root, delta))


def save_peft(vit: nn.Module, update: Update, folder: Path, *, backbone: str = "") -> None:
    """Write an update as a LoRA folder that ``peft.PeftModel.from_pretrained`` loads.

    A low-rank change whose rank fits the layer is written as it is, any other through its
    singular values.

    Args:
        vit: the plain timm model (adapted layers are recognised by name); not changed.
        update: layer name -> change.
        folder: made if it does not exist.
        backbone: name noted in the configuration.

    Raises:
        OptionError: if there is no change.
    """
    from peft import LoraConfig, get_peft_model

    if not update:
        raise OptionError("update", "changes by layer name; has anything been trained?", update)
    factors = {
        name: (
            c
            if isinstance(c, LowRank) and c.rank <= min(c.a.shape[1], len(c.b))
            else factorise(c.dense() if isinstance(c, LowRank) else c)
        )
        for name, c in update.items()
    }
    ranks = {name: pair.rank for name, pair in factors.items()}
    top = max(ranks.values())
    config = LoraConfig(
        r=top,
        lora_alpha=top,
        rank_pattern=ranks,
        alpha_pattern=ranks,
        target_modules=list(factors),
    )
    plain = plain_copy(vit)
    wrapped = get_peft_model(plain, config)
    with torch.no_grad():
        for name, pair in factors.items():
            layer: Any = plain.get_submodule(name)
            layer.lora_A["default"].weight.copy_(pair.a)
            layer.lora_B["default"].weight.copy_(pair.b)
    wrapped.peft_config["default"].base_model_name_or_path = backbone or None
    # no embeddings are adapted; left to itself, peft would ask the hub about them
    wrapped.save_pretrained(str(folder), save_embedding_layers=False)


def plain_copy(vit: nn.Module) -> nn.Module:
    """Copy a network with its adapted layers turned back into plain linear layers."""
    from avalanche_ham.adapters.linear import AdaptedLinear

    twin = copy.deepcopy(vit)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, AdaptedLinear):
            plain = nn.Linear(
                layer.in_features,
                layer.out_features,
                layer.bias is not None,
                device="meta",
            )
            plain.weight, plain.bias = layer.weight, layer.bias
            parent, _, child = name.rpartition(".")
            setattr(twin.get_submodule(parent), child, plain)
    return twin


def load_peft(folder: str | Path) -> dict[str, LowRank]:
    """Read a LoRA folder of peft as an update; the LoRA scale is folded into ``b``.

    Ranks may differ by layer. Only safetensors are read, nothing is executed.

    Raises:
        DataError: if the folder is no LoRA folder or uses what an update cannot express.
    """
    folder = check_path("folder", folder)
    try:
        text = read_regular(folder / "adapter_config.json", limit=2**24)
        config = json.loads(text)  # UTF-8, BOM or not
        tensors = load(read_regular(folder / "adapter_model.safetensors"))
    except (OSError, ValueError, SafetensorError, RecursionError) as error:
        raise DataError(f"{folder} is no peft LoRA folder: {error}") from error
    if not isinstance(config, dict) or not _is_plain_lora(config):
        raise DataError(f"{folder}: only plain LoRA can be imported")
    update = {}
    for key in sorted(key for key in tensors if ".lora_A" in key):
        name, _, tail = key.removeprefix(PREFIX).partition(".lora_A")
        a, b = tensors.pop(key), tensors.pop(f"{PREFIX}{name}.lora_B{tail}", None)
        if b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise DataError(f"{folder}: the factors of {name} do not fit together")
        update[name] = LowRank(a.float(), b.float() * _scale(config, name, len(a)))
    if tensors:
        raise DataError(f"{folder}: {next(iter(tensors))} is no factor of a linear layer")
    if not update:
        raise DataError(f"{folder}: it holds no LoRA factors")
    return update


def _is_plain_lora(config: dict[str, Any]) -> bool:
    return (
        config.get("peft_type") == "LORA"
        and not config.get("use_dora")
        and not config.get("fan_in_fan_out")
        and config.get("init_lora_weights") in KEEPS_BASE
        and isinstance(config.get("lora_alpha"), (int, float))
    )


def _scale(config: dict[str, Any], name: str, rank: int) -> float:
    """The factor of ``B A``; a pattern is a regular expression for the end of the name."""
    alpha = config["lora_alpha"]
    for pattern, own in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            alpha = own
            break
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
