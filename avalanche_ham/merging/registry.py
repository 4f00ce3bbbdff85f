"""The merge rules by name, for the command line."""

from __future__ import annotations

from collections.abc import Callable

from avalanche_ham.errors import UnknownNameError, check_range
from avalanche_ham.merging.dare import Dare
from avalanche_ham.merging.linear import Linear
from avalanche_ham.merging.magmax import MagMax
from avalanche_ham.merging.rule import MergeRule
from avalanche_ham.merging.ties import Ties

# name -> (density, seed) -> rule
RULES: dict[str, Callable[[float, int], MergeRule]] = {
    "linear": lambda density, seed: Linear(),
    "ties": lambda density, seed: Ties(density),
    "dare": lambda density, seed: Dare(density, seed),
    "dare_ties": lambda density, seed: Dare(density, seed, then=Ties(density=1.0)),
    "magmax": lambda density, seed: MagMax(),
}


def make_rule(name: str, *, density: float = 0.2, seed: int = 0) -> MergeRule:
    """Make a merge rule from its name in ``RULES``.

    Args:
        name: one of ``linear``, ``ties``, ``dare``, ``dare_ties``, ``magmax``.
        density: fraction that survives, in [0, 1]; for ``ties``, ``dare``,
            ``dare_ties``.
        seed: of the masks; for ``dare`` and ``dare_ties``.

    Raises:
        UnknownNameError: if there is no rule of this name.
        OptionError: if ``density`` is outside [0, 1], also for a rule without it.
    """
    if name not in RULES:
        raise UnknownNameError("merge", name, RULES)
    check_range("density", density, 0, 1)
    return RULES[name](density, seed)
