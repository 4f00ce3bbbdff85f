"""A table as it is declared: its rows, its columns, and where their runs take place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting.cells import Statistic, words_of
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import Setup

HEADS = {
    "linear": "linear head, trained",
    "ncm": "nearest class mean, closed form",
    "ridge": "ridge readout, closed form",
    "lda": "linear discriminant, closed form",
    "lda_drift": "linear discriminant that follows the drift",
    "ncm_drift": "class means that follow the drift",
    "lda_shift": "linear discriminant, means shifted by the mean drift",
    "lda_sdc": "linear discriminant, means shifted as in SDC",
}


class Place(NamedTuple):
    """Where runs take place: data set, number of tasks, head."""

    benchmark: str
    n_tasks: int
    head: str

    def words(self, dimensions: Iterable[str]) -> str:
        """Say some of the three, such as ``"CIFAR-100, 10 tasks"``."""
        words = {
            "benchmark": title_of(self.benchmark),
            "n_tasks": f"{self.n_tasks} tasks",
            "head": HEADS.get(self.head, f"{self.head} head"),
        }
        return ", ".join(words[name] for name in words if name in dimensions)


@dataclass(frozen=True)
class Line:
    """A row: what its runs are, at whatever place.

    Attributes:
        label: what stands in front.
        method: of its runs.
        options: of its runs; ``n_tasks`` and ``head`` win over the place's.
        words: title of a column -> what stands there and needs no run.
        view: record -> the entries that the columns read instead.
        as_printed: whether the runs are what HAM's paper prints values of; None: those without
            options are.
    """

    label: str
    method: str = "ham"
    options: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    view: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    as_printed: bool | None = None

    @property
    def is_printed(self) -> bool:
        """Whether values of HAM's paper may stand beside it."""
        return not self.options if self.as_printed is None else self.as_printed

    @property
    def is_bound(self) -> bool:
        """Whether it sees what the others must not, and so cannot be the best."""
        return self.method in ("joint", "independent")


Printed = Callable[[Line, Place], "Value | None"]


@dataclass(frozen=True)
class Column:
    """A column: what it shows of a row's runs.

    Attributes:
        title: the heading.
        statistic: what it shows, such as ``mean_of("aa")``; by default only the rows' words.
        paper: gives the paper's value for a row at a place, if there is one.
        of: the runs, if not the row's.
        minus: the runs that are subtracted.
        best: which mean is printed bold: ``max``, ``min`` or none.
        digits: after the point.
        averaged: whether, over several data sets, their average follows.
        deviation: whether the deviation over seeds stands beside the mean.
        needs: entries of a record that only runs with probes have (``fwt``, ``a_t``); one without
            them does not count as made.
        timed: whether it shows times, which are ranked only where all are of one machine.
    """

    title: str
    statistic: Statistic = words_of(lambda record: "")
    paper: Printed = lambda line, place: None
    of: Line | None = None
    minus: Line | None = None
    best: str = ""
    digits: int = 2
    averaged: bool = False
    deviation: bool = True
    needs: tuple[str, ...] = ()
    timed: bool = False


@dataclass(frozen=True)
class Table:
    """A table: rows times columns, at every place.

    Attributes:
        title: stands above it.
        columns: what is shown of each row's runs.
        rows: the lines, or a function that gives those of a place; of places that share rows,
            each fills its own cells.
        row_title: heading of their labels.
        benchmarks, heads: where it takes place unless the user says otherwise.
        lengths: numbers of tasks likewise, or a function of the benchmark that gives them; of
            a table in another one's ``also``, none are those of its blocks, and a function that
            gives none for a benchmark leaves it out.
        blocks: the dimensions of a place (``benchmark``, ``n_tasks``, ``head``) of which each
            value has a block of its own.
        down: those of which each value has rows of its own; the others have columns.
        also: tables, each at one length, of which a block follows every block; their titles
            stand before its place.
        notes: said below; ``slips`` likewise, but only if a value of the paper stands there.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Line] | Callable[[Setup, Place], Iterable[Line]]
    row_title: str = "Method"
    benchmarks: Sequence[str] = ("cifar100",)
    lengths: Sequence[int] | Callable[[str], Sequence[int]] = (10,)
    heads: Sequence[str] = ("linear",)
    blocks: Sequence[str] = Place._fields
    down: Sequence[str] = ()
    also: Sequence[Table] = ()
    notes: Sequence[str] = ()
    slips: Sequence[str] = ()
