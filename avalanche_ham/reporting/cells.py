"""What a table's cell is made of: runs, and what is read from their records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from avalanche_ham.reporting.aggregate import Summary, mean_and_deviation
from avalanche_ham.reporting.paper import Value
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.records import Record

Metric = Callable[[Any], "float | None"]  # of a ``Record``


class Cell(Protocol):
    """Anything that names its runs and can be filled from records."""

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """The runs it needs, one per seed."""

    def fill(self, archive: Archive) -> Summary:
        """Read the records."""


@dataclass(frozen=True)
class Score:
    """Mean and deviation over seeds of one number of a record.

    Attributes:
        runs: one per seed; empty for a cell that shows only the paper's value.
        metric: record -> number; None where the record says nothing.
        paper: the paper's value.
        data: whether the data set is there.
    """

    runs: tuple[RunConfig, ...]
    metric: Metric
    paper: Value | None = None
    data: bool = True

    def no_data(self, archive: Archive) -> bool:
        """Whether the data set is not there and nobody has brought results from elsewhere."""
        return not self.data and not any(archive.knows(c.benchmark) for c in self.runs)

    def fill(self, archive: Archive) -> Summary:
        """Read the records; a run whose number is undefined is not missing."""
        values: list[float] = []
        missing = failed = 0
        for config in self.runs:
            record = archive.record(config)
            if record is None:
                if archive.failure(config):
                    failed += 1
                else:
                    missing += 1
            elif (number := self.metric(record)) is not None:
                values.append(number)
        mean, std = mean_and_deviation(values)
        undefined = len(self.runs) - len(values) - missing - failed
        gone = self.no_data(archive)
        return Summary(mean, std, len(values), missing, failed, undefined, self.paper, no_data=gone)


@dataclass(frozen=True)
class Difference:
    """Mean and deviation over seeds of a difference, seed by seed (paired).

    Attributes:
        left, right: scores over the same seeds; right is subtracted.
        paper: the paper's value.
    """

    left: Score
    right: Score
    paper: Value | None = None

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """The runs of both sides."""
        return self.left.runs + self.right.runs

    def fill(self, archive: Archive) -> Summary:
        """Subtract where both runs of a seed are there."""
        values, missing = [], 0
        for a, b in zip(self.left.runs, self.right.runs, strict=True):
            records = archive.record(a), archive.record(b)
            if None in records:
                missing += 1
                continue
            x, y = self.left.metric(records[0]), self.right.metric(records[1])  # type: ignore
            if x is not None and y is not None:
                values.append(x - y)
        mean, std = mean_and_deviation(values)
        undefined = len(self.left.runs) - len(values) - missing
        gone = self.left.no_data(archive)
        return Summary(mean, std, len(values), missing, 0, undefined, self.paper, no_data=gone)


@dataclass(frozen=True)
class Words:
    """Words about the finished runs, such as which group a task joined.

    Attributes:
        runs: one per seed.
        say: record -> words; equal ones are said once.
    """

    runs: tuple[RunConfig, ...]
    say: Callable[[Record], str]

    def fill(self, archive: Archive) -> Summary:
        """Read the records."""
        records = [archive.record(config) for config in self.runs]
        found = [self.say(record) for record in records if record is not None]
        words = ", ".join(dict.fromkeys(filter(None, found)))
        return Summary(n=len(found), missing=len(records) - len(found), text=words or None)


@dataclass(frozen=True)
class Fixed:
    """Words that need no run."""

    text: str
    runs: tuple[RunConfig, ...] = ()

    def fill(self, archive: Archive) -> Summary:
        """Give the words."""
        return Summary(text=self.text)


def number(key: str) -> Metric:
    """Make a metric that reads a record's entry."""
    return lambda record: record.get(key)


def last_of(key: str, *, scale: float = 1.0) -> Metric:
    """Make a metric that reads the last entry of a record's list, times a factor."""
    return lambda record: scale * record[key][-1] if record.get(key) else None
