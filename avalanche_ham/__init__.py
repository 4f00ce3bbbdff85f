"""Continual learning on frozen vision models: HAM and the methods it is compared with."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from avalanche_ham import _avalanche_home

__version__ = "0.1.0"

_HOME = {  # public name -> module; imported on first use, because Avalanche takes seconds
    "AdapterGroupingPlugin": "plugins",
    "AdapterSet": "adapters",
    "AlphaBalancingPlugin": "plugins",
    "FinalMergingPlugin": "plugins",
    "HAMStrategy": "strategies.ham",
    "ReadoutPlugin": "plugins",
    "ScopedCrossEntropy": "heads",
    "SequentialStrategy": "strategies.sequential",
    "create_benchmark": "benchmarks",
    "create_model": "backbones",
    "load_records": "runs.records",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from avalanche_ham.adapters import AdapterSet as AdapterSet
    from avalanche_ham.backbones import create_model as create_model
    from avalanche_ham.benchmarks import create_benchmark as create_benchmark
    from avalanche_ham.heads import ScopedCrossEntropy as ScopedCrossEntropy
    from avalanche_ham.plugins import AdapterGroupingPlugin as AdapterGroupingPlugin
    from avalanche_ham.plugins import AlphaBalancingPlugin as AlphaBalancingPlugin
    from avalanche_ham.plugins import FinalMergingPlugin as FinalMergingPlugin
    from avalanche_ham.plugins import ReadoutPlugin as ReadoutPlugin
    from avalanche_ham.runs.records import load_records as load_records
    from avalanche_ham.strategies.ham import HAMStrategy as HAMStrategy
    from avalanche_ham.strategies.sequential import SequentialStrategy as SequentialStrategy


_avalanche_home.prepare()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
