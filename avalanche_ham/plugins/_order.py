"""Whether HAM's plugins stand in a strategy as they must: on its model, and in order."""

from __future__ import annotations

import itertools
from typing import Any

from avalanche_ham.adapters import AdapterSet
from avalanche_ham.errors import HamError


def check_place(strategy: Any, adapters: AdapterSet) -> None:
    """Refuse adapters that are not those of the strategy's model.

    Raises:
        HamError: also when the model was replaced after the plugins were made.
    """
    if all(module is not adapters for module in strategy.model.modules()):
        raise HamError(
            "adapters: they are not part of the strategy's model; was it replaced after the "
            "plugins were made?"
        )


def check_order(strategy: Any, adapters: AdapterSet) -> None:
    """Refuse an order of plugins in which one works on what another has not done yet.

    Raises:
        HamError: naming the two plugins.
    """
    ranked = [
        (plugin.place, type(plugin).__name__)
        for plugin in strategy.plugins
        if hasattr(plugin, "place") and _takes_part(plugin, strategy, adapters)
    ]
    for (earlier, first), (later, second) in itertools.pairwise(ranked):
        if earlier > later:
            raise HamError(f"plugins: {second} must stand before {first}")
    places = [place for place, _ in ranked]
    if 1 in places and 0 not in places:
        raise HamError("plugins: AdapterGroupingPlugin needs an AlphaBalancingPlugin before it")


def _takes_part(plugin: Any, strategy: Any, adapters: AdapterSet) -> bool:
    """Whether a plugin works on these adapters; a ReadoutPlugin does on what they have made."""
    if hasattr(plugin, "adapters"):
        return plugin.adapters is adapters
    return bool(getattr(strategy.model, "readouts", ()))
