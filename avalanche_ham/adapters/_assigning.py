"""Write values into the branches or the terms of adapted layers: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from avalanche_ham.adapters.branch import is_foldable
from avalanche_ham.adapters.linear import AdaptedLinear
from avalanche_ham.adapters.low_rank import LowRank, Update, outer_shape
from avalanche_ham.adapters.terms import LowRankTerms
from avalanche_ham.errors import HamError, NoMatchError, OptionError

__all__ = ["assign_branches", "assign_terms", "check_fits", "check_foldable", "check_names"]

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


def check_fits(layers: Layers, update: Update, *, as_terms: bool) -> None:
    """Raise OptionError unless each change has its layer's shape.

    Args:
        layers: by name.
        update: names only layers that are there.
        as_terms: also refuse what the layers' kind of terms cannot hold.
    """
    for name, change in update.items():
        shape = tuple(layers[name].weight.shape)
        ranks = (change.b.shape[1], change.a.shape[0]) if isinstance(change, LowRank) else (0, 0)
        if outer_shape(change) != shape or ranks[0] != ranks[1]:
            raise OptionError(f"the change of {name}", f"of shape {shape}", _described(change))
        low_rank = as_terms and isinstance(layers[name].terms, LowRankTerms)
        if low_rank and not isinstance(change, LowRank):
            raise OptionError(f"the change of {name}", "low-rank", _described(change))


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
    check_fits(layers, update, as_terms=True)
    for name, change in update.items():
        layers[name].terms.assign(change, index)
        if layers[name].fixed is not None:
            layers[name].fix()


def _described(change: LowRank | Tensor) -> str:
    if isinstance(change, LowRank):
        return f"factors of shapes {tuple(change.a.shape)} and {tuple(change.b.shape)}"
    return f"a dense change of shape {tuple(change.shape)}"
