"""Sec. 3.2.1: train a task adapter with an importance scalar beside frozen groups."""

from avalanche_ham.adapters.adapter_set import AdapterSet
from avalanche_ham.adapters.branch import LowRankBranch, low_rank_branches
from avalanche_ham.adapters.linear import AdaptedLinear
from avalanche_ham.adapters.low_rank import LowRank, Update, concatenate, dense
from avalanche_ham.adapters.terms import DenseTerms, LowRankTerms

__all__ = [
    "AdaptedLinear",
    "AdapterSet",
    "DenseTerms",
    "LowRank",
    "LowRankBranch",
    "LowRankTerms",
    "Update",
    "concatenate",
    "dense",
    "low_rank_branches",
]
