"""Classifiers: a trained incremental head, closed-form readouts, and the loss scope."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {  # imported on first use: a list of names needs no torch
    "HEADS": "registry",
    "SCOPES": "loss",
    "IncrementalHead": "linear",
    "LinearDiscriminant": "lda",
    "NearestClassMean": "ncm",
    "Readout": "readout",
    "RidgeReadout": "ridge",
    "ScopedCrossEntropy": "loss",
    "create_readout": "registry",
    "split_heads": "registry",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from avalanche_ham.heads.lda import LinearDiscriminant as LinearDiscriminant
    from avalanche_ham.heads.linear import IncrementalHead as IncrementalHead
    from avalanche_ham.heads.loss import SCOPES as SCOPES
    from avalanche_ham.heads.loss import ScopedCrossEntropy as ScopedCrossEntropy
    from avalanche_ham.heads.ncm import NearestClassMean as NearestClassMean
    from avalanche_ham.heads.readout import Readout as Readout
    from avalanche_ham.heads.registry import HEADS as HEADS
    from avalanche_ham.heads.registry import create_readout as create_readout
    from avalanche_ham.heads.registry import split_heads as split_heads
    from avalanche_ham.heads.ridge import RidgeReadout as RidgeReadout


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
