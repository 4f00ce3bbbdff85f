"""A table's cell: the runs that it is made of, and what it shows of their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avalanche_ham.reporting.aggregate import Summary, mean_and_deviation
from avalanche_ham.reporting.paper import Value
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig

Found = Sequence[Sequence[Mapping[str, Any]]]  # of each finished seed: a record, or two to compare
Statistic = Callable[[Found], Summary]
ROUNDING = 1e-9  # what a sum of floats leaves of 0, which would be printed with a sign


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table, before the records are read.

    Attributes:
        seeds: of each seed its run, or the two that are compared; none for mere words.
        statistic: records of the seeds whose runs are all finished -> what is shown.
        paper: the paper's value.
        data: whether the data set is there.
        needs: entries without which a record does not count, see ``Column``.
    """

    seeds: tuple[tuple[RunConfig, ...], ...]
    statistic: Statistic
    paper: Value | None = None
    data: bool = True
    needs: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """All runs that it needs."""
        return sum(self.seeds, ())

    def fill(self, archive: Archive) -> Summary:
        """Read the records; a run whose number is undefined is not missing."""
        found, failed = [], 0
        for runs in self.seeds:
            there = [archive.record(run, self.needs) for run in runs]
            records = [record for record in there if record is not None]
            if len(records) == len(runs):
                found.append(records)
            elif any(archive.failure(run, self.needs) for run in runs):
                failed += 1
        # results may have been brought from where the data set is
        gone = not self.data and not any(archive.knows(run.benchmark) for run in self.runs)
        return replace(
            self.statistic(found),
            missing=len(self.seeds) - len(found) - failed,
            failed=failed,
            paper=self.paper,
            no_data=gone,
        )


def mean_of(read: str | Callable[[Mapping[str, Any]], float | None]) -> Statistic:
    """Show mean and deviation over seeds; of two runs the difference, seed by seed (paired).

    Args:
        read: name of a record's entry, or record -> number; None where a record says nothing.
    """

    def number(record: Mapping[str, Any]) -> Any:
        return record.get(read) if isinstance(read, str) else read(record)

    def statistic(found: Found) -> Summary:
        numbers = [[number(record) for record in seed] for seed in found]
        values = [first - sum(less) for first, *less in numbers if None not in (first, *less)]
        mean, std = mean_and_deviation(values)
        if mean is not None and abs(mean) < ROUNDING:
            mean = 0.0
        return Summary(mean, std, len(values), undefined=len(found) - len(values))

    return statistic


def words_of(say: Callable[[Mapping[str, Any]], str]) -> Statistic:
    """Show words about each run, such as which group a task joined; equal ones once."""

    def statistic(found: Found) -> Summary:
        words = ", ".join(dict.fromkeys(filter(None, (say(record) for (record,) in found))))
        return Summary(n=len(found), text=words or None)

    return statistic


def last_of(key: str, *, scale: float = 1.0) -> Statistic:
    """Show the last entry of a record's list, times a factor."""
    return mean_of(lambda record: scale * record[key][-1] if record.get(key) else None)
