"""Sec. 3.2.2: which group a trained adapter joins, what is pruned, and the group's scalar."""

from avalanche_ham.grouping.assignment import (
    AssignmentRule,
    Orthogonality,
    Similarity,
    assign_by_orthogonality,
    assign_by_similarity,
)
from avalanche_ham.grouping.consolidation import prune_update, running_mean
from avalanche_ham.grouping.similarity import cosine_similarity, similarities

__all__ = [
    "AssignmentRule",
    "Orthogonality",
    "Similarity",
    "assign_by_orthogonality",
    "assign_by_similarity",
    "cosine_similarity",
    "prune_update",
    "running_mean",
    "similarities",
]
