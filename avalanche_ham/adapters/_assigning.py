"""Write values into the branches or the terms of adapted layers: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from avalanche_ham.adapters.branch import is_foldable
from avalanche_ham.adapters.linear import AdaptedLinear
from avalanche_ham.adapters.low_rank import LowRank, Update
from avalanche_ham.adapters.terms import LowRankTerms
from avalanche_ham.errors import HamError, NoMatchError, OptionError

__all__ = ["assign_branches", "assign_terms", "check_foldable", "check_names"]

Layers = Mapping[str, AdaptedLinear]


def check_names(layers: Layers, update: Update) -> None:
    """Raise NoMatchError unless every layer that the update names is adapted."""
    unknown = set(update) - set(layers)
    if unknown:
        raise NoMatchError(f"no adapted layer is called {sorted(unknown)[0]!r}")


def check_foldable(layers: Layers) -> None:
    """Raise HamError if a branch has no weight."""
    for name, layer in layers.items():
        if layer.branch is not None and not is_foldable(layer.branch):
            kind = type(layer.branch).__name__
            raise HamError(
                f"the branch of {name} is a {kind}, which depends on the token and has no "
                "weight: it can be trained and evaluated, not folded, closed or exported"
            )


def assign_branches(layers: Layers, update: Update) -> None:
    """Write factors into the open branches; OptionError if one does not fit."""
    branches = {name: layers[name].branch for name in update}
    for name, change in update.items():
        allowed = branches[name].misfit(change)  # type: ignore[union-attr,operator]
        if allowed is not None:
            raise OptionError(f"the change of {name}", allowed, _described(change))
    for name, change in update.items():
        branches[name].assign(change)  # type: ignore[union-attr,operator]


def assign_terms(layers: Layers, update: Update, index: int) -> None:
    """Put changes in the place of the terms ``index``; OptionError if one does not fit."""
    for name, change in update.items():
        shape = tuple(layers[name].weight.shape)
        if _outer(change) != shape:
            raise OptionError(f"the change of {name}", f"of shape {shape}", _described(change))
        if isinstance(layers[name].terms, LowRankTerms) and not isinstance(change, LowRank):
            raise OptionError(f"the change of {name}", "low-rank", _described(change))
    for name, change in update.items():
        layers[name].terms.assign(change, index)
        if layers[name].fixed is not None:
            layers[name].fix()


def _outer(change: LowRank | Tensor) -> tuple[int, ...]:
    """Give the shape ``(o, i)`` of a change without multiplying its factors."""
    if isinstance(change, LowRank):
        return (change.b.shape[0], change.a.shape[1])
    return tuple(change.shape)


def _described(change: LowRank | Tensor) -> str:
    if isinstance(change, LowRank):
        return f"factors of shapes {tuple(change.a.shape)} and {tuple(change.b.shape)}"
    return f"a dense change of shape {tuple(change.shape)}"
