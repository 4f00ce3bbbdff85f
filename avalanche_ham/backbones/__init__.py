"""Frozen vision transformers and the continual model around them."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {  # imported on first use: a list of names needs no torch
    "BACKBONES": "names",
    "ContinualModel": "model",
    "Encoding": "encoder",
    "Preprocess": "preprocess",
    "VitEncoder": "encoder",
    "create_backbone": "vit",
    "create_model": "model",
    "weights_digest": "digest",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
