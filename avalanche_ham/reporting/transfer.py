"""What PAM's and SLAO's tables say of a run: accuracy, transfer both ways, cost of the merge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from avalanche_ham.reporting.cells import mean_of
from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Place
from avalanche_ham.strategies.registry import METHODS

ACC = Column("ACC (%)", mean_of("aa"), best="max")
BWT = Column("BWT (%)", mean_of("bwt"), best="max")
FWT = Column("FWT (%)", mean_of("fwt"), best="max", needs=("fwt",))
A_T = Column("A_t (%)", mean_of("a_t"), best="max", needs=("a_t",))
MERGED = Column("A_t, merged (%)", mean_of("a_t_merged"), best="max")
COLUMNS = (ACC, BWT, FWT, A_T, MERGED)
NOTES = (
    "BWT: final minus first accuracy of a task, both after its merge; FWT: what the features gain "
    "on the next task over the untouched backbone, by class means with the task known",
    "A_t: accuracy on a task just trained, before its merge (linear head) and after",
)


def lines_of(*names: str) -> Callable[[Setup, Place], Iterable[Line]]:
    """Give a row for each of some methods that are there, whatever methods were named."""
    return lambda setup, place: [Line(LABELS.get(n, n), n) for n in names if n in METHODS]


def forgetting_over_time(share: float) -> Callable[[Mapping[str, Any]], float | None]:
    """Read what tasks have lost when a share of the stream is done, in points.

    ``100/(t-1) sum_{j<t} (a[j][j] - a[t][j])`` after task t, the share of T rounded up (PAM,
    Fig. 1); None where t is the first, or one of these accuracies is not known.
    """

    def lost(record: Mapping[str, Any]) -> float | None:
        matrix = record["accuracy_matrix"]
        last = max(0, -int(-share * len(matrix) // 1) - 1)
        pairs = [(matrix[j][j], matrix[last][j]) for j in range(last)]
        if not pairs or None in sum(pairs, ()):
            return None
        return 100 * sum(first - now for first, now in pairs) / last

    return lost
