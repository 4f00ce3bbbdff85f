"""The merge rules by name: whose arguments are a method's options where it merges by them."""

from __future__ import annotations

from collections.abc import Callable

from avalanche_ham.merging.dare import Dare, dare_ties
from avalanche_ham.merging.linear import Linear
from avalanche_ham.merging.magmax import MagMax
from avalanche_ham.merging.rule import MergeRule
from avalanche_ham.merging.tall import Tall
from avalanche_ham.merging.ties import Ties

RULES: dict[str, Callable[..., MergeRule]] = {
    "linear": Linear,
    "ties": Ties,
    "dare": Dare,
    "dare_ties": dare_ties,
    "magmax": MagMax,
    "tall": Tall,
}
