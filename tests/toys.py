"""Small strategies, plugins that watch them, and a look at everything a model holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from torch import Tensor

from avalanche_ham import HAMStrategy, create_model
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.settings import build_strategy, resolve

SMOKE = RunConfig(
    method="ham",
    benchmark="digits",
    n_tasks=2,
    seed=1,
    preset="smoke",
    options={"rank": 2},
)
SMALL = {"rank": 4, "lr": 1e-2, "batch_size": 8, "eval_batch_size": 16, "steps": 4}


def silent(*metrics: Any) -> EvaluationPlugin:
    """An evaluator without loggers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has no logger is meant
        return EvaluationPlugin(*metrics, loggers=[])


def ham(model=None, **options: Any) -> HAMStrategy:
    """A quick HAM on the tiny random ViT."""
    given = {"rank": 4, "lr": 1e-2, "train_mb_size": 8, "eval_mb_size": 16, "steps": 4}
    given = {"evaluator": silent(), **given, **options}
    return HAMStrategy(model=model or create_model("tiny", n_classes=10), **given)


def make(method: str, options: dict[str, Any] | None = None, head: str = "linear", **common: Any):
    """A quick strategy of a method by its name in the registry."""
    values = resolve(method, SMALL, options or {})
    common = {"evaluator": silent(), **common}
    return build_strategy(
        method, values, model=create_model("tiny", n_classes=10, head=head), **common
    )


def state_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def differing(x: dict[str, Tensor], y: dict[str, Tensor]) -> set[str]:
    """Names whose tensors are not bit-identical, or that only one of the two has."""
    both = x.keys() & y.keys()
    return {name for name in both if not torch.equal(x[name], y[name])} | (x.keys() ^ y.keys())


class Watch(SupervisedPlugin):
    """Call functions at hooks: ``Watch(before_update=lambda strategy: ...)``."""

    def __init__(self, **functions: Callable[[Any], None]) -> None:
        super().__init__()
        for hook, function in functions.items():
            assert hasattr(SupervisedPlugin, hook), hook
            setattr(self, hook, lambda strategy, f=function, **kwargs: f(strategy))
