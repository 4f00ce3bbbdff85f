"""Sec. 3.3, Eq. 7: merge updates into one, by a rule, in one of two spaces."""

from avalanche_ham.merging.damping import DAMPINGS, damped_weight
from avalanche_ham.merging.dare import Dare, dare_ties
from avalanche_ham.merging.linear import Linear
from avalanche_ham.merging.magmax import MagMax
from avalanche_ham.merging.merger import UpdateMerger, merge
from avalanche_ham.merging.registry import RULES
from avalanche_ham.merging.rule import MergeRule, TensorMerger
from avalanche_ham.merging.tall import Tall
from avalanche_ham.merging.ties import Ties

__all__ = [
    "DAMPINGS",
    "RULES",
    "Dare",
    "Linear",
    "MagMax",
    "MergeRule",
    "Tall",
    "TensorMerger",
    "Ties",
    "UpdateMerger",
    "damped_weight",
    "dare_ties",
    "merge",
]
