"""Two methods against each other: the paired difference and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from avalanche_ham.errors import OptionError
from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.cells import Found, Statistic, mean_of
from avalanche_ham.reporting.methods import LABELS, all_methods
from avalanche_ham.reporting.noise import interval_over_images, interval_over_seeds
from avalanche_ham.reporting.paper import DATA_SETS
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import HEADS, Column, Line, Place, Table
from avalanche_ham.runs.identity import identity_of

if TYPE_CHECKING:
    from avalanche_ham.evaluation.significance import Interval

NOTES = (
    "difference: the mean over seeds that both have, and its deviation",
    "over seeds: t interval of the paired differences, what other seeds would bring; none where "
    "all are the same; over test images: bootstrap within tasks, what other images would bring to "
    "these very runs; an interval without 0 is marked *",
)


def table_compare(setup: Setup) -> Table:
    """Give a block per data set and length, a row per head; ``setup.methods`` are the two.

    Of data sets, lengths and heads that were not named, those count at which both have records.

    Raises:
        OptionError: if they are not two.
    """
    methods = setup.methods or ("ham", "frozen")
    if len(methods) != 2:
        raise OptionError("compare", "two different methods", ",".join(methods))
    ours, theirs = (Line(LABELS.get(m, m), m) for m in methods)
    found = frozenset(_places(setup, methods))
    return Table(
        f"{ours.label} against {theirs.label}",
        columns=_columns(ours, theirs),
        rows=lambda _, place: [Line("")] if setup.heads or _is_shown(place, found) else [],
        row_title="Head",
        benchmarks=sorted({place.benchmark for place in found} or setup.known) or DATA_SETS,
        lengths=lambda name: _lengths(name, found) or setup.lengths(name, (10, 50)),
        heads=[h for h in HEADS if any(place.head == h for place in found)] or tuple(HEADS),
        blocks=["benchmark", "n_tasks"],
        down=["head"],
        notes=NOTES,
    )


def table_against(setup: Setup) -> Table:
    """Give every method's difference to the first that was named, HAM by default.

    First under the same head, then that of closed-form heads to the first one's trained head.
    """
    first, *others = setup.methods or ("ham",)
    base = Line(LABELS.get(first, first), first)
    trained = replace(base, options={"head": "linear"})

    def rows(setup: Setup, place: Place) -> Iterator[Line]:
        asked = replace(setup, methods=tuple(others) or None)
        lines = (line for line in all_methods(asked, place) if not line.options)
        return (line for line in lines if line.method != first)

    def all_rows(setup: Setup, place: Place) -> Iterator[Line]:
        if place.head != "linear":
            yield base
            yield from rows(setup, place)

    return Table(
        f"Every method against {base.label}",
        columns=_minus(base, f"minus {base.label}"),
        rows=rows,
        lengths=[10, 50],
        heads=["linear", "ridge", "lda_drift"],
        also=[
            Table(
                f"Against {base.label} under its trained head",
                columns=_minus(trained, f"minus {base.label}, trained head"),
                rows=all_rows,
                lengths=(),
            )
        ],
        notes=NOTES,
    )


def figure_against(setup: Setup) -> Table:
    """Give ``table_against`` as far as a figure shows it: under the same head."""
    table = table_against(setup)
    drawn = (
        "dot: the mean difference, filled where its interval over seeds does not hold 0, or that "
        "over test images where one seed is in common; thick bar: over test images; thin bar: over "
        "seeds, cut off where it is wider than all others"
    )
    return replace(table, also=(), notes=[*NOTES, drawn])


def _minus(base: Line, title: str) -> list[Column]:
    """Give the columns of rows that a base is subtracted from."""
    over_seeds, over_images = map(interval_words, (interval_over_seeds, interval_over_images))
    return [
        Column("AA (%)", mean_of("aa")),
        Column(title, mean_of("aa"), minus=base),
        Column("95 % over seeds", over_seeds, minus=base),
        Column("95 % over test images", over_images, minus=base),
    ]


def _columns(ours: Line, theirs: Line) -> list[Column]:
    over_seeds = interval_words(interval_over_seeds)
    over_images = interval_words(interval_over_images)
    return [
        *(Column(f"{side.label}, AA (%)", mean_of("aa"), of=side) for side in (ours, theirs)),
        Column("difference", mean_of("aa"), of=ours, minus=theirs),
        Column("95 % over seeds", over_seeds, of=ours, minus=theirs),
        Column("95 % over test images", over_images, of=ours, minus=theirs),
    ]


def _places(setup: Setup, methods: Sequence[str]) -> Iterator[Place]:
    """List the places at which each method has a record, among those that were asked for."""
    known = {Place(i.benchmark, i.n_tasks, i.head) for i in setup.records if i.method in methods}
    for place in known:
        named = zip(place, (setup.benchmarks, setup.tasks, setup.heads or tuple(HEADS)))
        if all(wanted is None or value in wanted for value, wanted in named):
            runs = [setup.runs(method, **place._asdict()) for method in methods]
            if all(any(identity_of(r).asked in setup.records for r in each) for each in runs):
                yield place


def _lengths(benchmark: str, found: Collection[Place]) -> tuple[int, ...]:
    return tuple(sorted({place.n_tasks for place in found if place.benchmark == benchmark}))


def _is_shown(place: Place, found: Collection[Place]) -> bool:
    """Whether a head has records beside the others of its block, or none has any."""
    heads = {other.head for other in found if other[:2] == place[:2]}
    return not heads or place.head in heads


def interval_words(interval: Callable[[Found], Interval | str]) -> Statistic:
    """Show an interval of two runs' difference, or why there is none."""

    def statistic(found: Found) -> Summary:
        known = interval(found)
        if isinstance(known, str):
            return Summary(n=len(found), text=known)
        words = f"{_signed(known.low)} to {_signed(known.high)}{' *' if known.tells else ''}"
        return Summary(n=len(found), text=words, interval=(known.low, known.high))

    return statistic


def _signed(value: float) -> str:
    """Write a number with its sign, and 0 without one."""
    return f"{value:+.2f}" if round(value, 2) else "0.00"
