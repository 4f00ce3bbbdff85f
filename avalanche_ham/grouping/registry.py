"""Sec. 3.2.2 by name: which group an adapter joins, and how a group's members combine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from avalanche_ham.adapters.low_rank import LowRank, Update, dense
from avalanche_ham.errors import NoMatchError, UnknownNameError
from avalanche_ham.grouping.assignment import AssignmentRule, Orthogonality, Similarity
from avalanche_ham.merging.linear import Linear
from avalanche_ham.merging.merger import UpdateMerger
from avalanche_ham.merging.rule import MergeRule
from avalanche_ham.merging.ties import Ties

# name -> (threshold, max_groups) -> rule
ASSIGNMENTS: dict[str, Callable[[float, int], AssignmentRule]] = {
    "similarity": lambda threshold, groups: Similarity(threshold, groups),
    "opened_similarity": lambda threshold, groups: Similarity(math.inf, groups),
    "orthogonality": lambda threshold, groups: Orthogonality(groups),
    "none": lambda threshold, groups: lambda similarities: None,
}
# name -> merge rule and weights; the two rules are those of the merging baselines
WITHIN: dict[str, tuple[MergeRule, str] | None] = {
    "concatenate": None,
    "linear": (Linear(), "mean"),
    "ties": (Ties(), "one"),
}


def make_assignment(name: str, *, threshold: float, max_groups: int) -> AssignmentRule:
    """Make an assignment rule from its name in ``ASSIGNMENTS``.

    Args:
        name: ``similarity`` (Sec. 3.2.2), ``opened_similarity`` (the first ``max_groups``
            adapters open a group each, later ones join the most similar: one arm of
            Table 3), ``orthogonality`` (its other arm: later ones join the group of
            smallest absolute cosine) or ``none`` (every adapter is a group).
        threshold: smallest cosine that counts as alike, for ``similarity``.
        max_groups: largest number of groups, at least 1; ``none`` knows no limit.

    Raises:
        UnknownNameError: if there is no rule of this name.
        OptionError: if an argument is outside its range.
    """
    if name not in ASSIGNMENTS:
        raise UnknownNameError("assignment", name, ASSIGNMENTS)
    return ASSIGNMENTS[name](threshold, max_groups)


class MembersMerger:
    """One group whose members are merged instead of concatenated (end of Sec. 3.2.2).

    A is merged with A and B with B, so that the group keeps the rank of one adapter, which
    is why the paper prefers concatenation. ``linear`` weighs each of n members 1/n,
    ``ties`` keeps a fifth of the entries: the settings of the merging baselines.

    Args:
        name: ``linear`` or ``ties``.
        slots: parts of a fused qkv that have factors of their own, each merged alone.
    """

    def __init__(self, name: str, slots: Sequence[str] | None = None) -> None:
        check_within(name)
        row = WITHIN[name]
        if row is None:
            raise NoMatchError("within: concatenation adds members up, it merges nothing")
        rule, self.weights = row
        self.merger = UpdateMerger(rule, space="factors", slots=slots)

    def add(self, member: Update) -> None:
        """Take one more member, low-rank and already pruned."""
        self.merger.add(member)

    def factors(self) -> dict[str, LowRank]:
        """Give the group's change, of the members' rank."""
        merged = self.merger.result(self.weights)
        return {n: c for n, c in merged.items() if isinstance(c, LowRank)}

    def step(self, before: Update | None) -> Update:
        """Give what must be added to the group's change to arrive at the new merge.

        Args:
            before: the group's dense change so far, None for a new group.
        """
        now = self.factors()
        if before is None:
            return now
        return {name: dense(pair) - dense(before[name]) for name, pair in now.items()}


def check_within(name: str) -> None:
    """Raise UnknownNameError unless the name is ``concatenate``, ``linear`` or ``ties``."""
    if name not in WITHIN:
        raise UnknownNameError("within", name, WITHIN)
