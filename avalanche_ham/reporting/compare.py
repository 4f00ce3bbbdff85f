"""Two methods against each other: the paired difference and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.evaluation.significance import Interval
from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.cells import Difference, Score, number
from avalanche_ham.reporting.methods import HEADS, LABELS
from avalanche_ham.reporting.noise import interval_over_images, interval_over_seeds, pairs_of
from avalanche_ham.reporting.paper import DATA_SETS
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Block, Column, Row, Table
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig


def table_compare(setup: Setup) -> Table:
    """Give a block per data set and length; a line per head. ``methods`` are the two."""
    ours, theirs = setup.methods or ("ham", "frozen")
    names = [LABELS.get(method, method) for method in (ours, theirs)]
    columns = (
        *(Column(f"{name}, AA (%)") for name in names),
        Column("difference"),
        Column("95 % over seeds"),
        Column("95 % over test images"),
    )
    blocks = []
    for benchmark in setup.data_sets(tuple(sorted(setup.known)) or DATA_SETS):
        for n in setup.lengths(benchmark, 10, 50):
            rows = tuple(
                _row(setup, ours, theirs, benchmark, n, head) for head in setup.head_names(*HEADS)
            )
            title = f"{title_of(benchmark)}, {n} tasks"
            blocks.append(Block(title, columns, rows, row_title="Head"))
    notes = (
        "difference: the mean over seeds that both have, and its deviation",
        "over seeds: t interval of the paired differences, what other seeds would bring; over test "
        "images: bootstrap within tasks, what other images would bring to these very runs; an "
        "interval without 0 is marked *",
    )
    return Table("compare", f"{names[0]} against {names[1]}", tuple(blocks), notes)


def _row(setup: Setup, ours: str, theirs: str, benchmark: str, n: int, head: str) -> Row:
    data = setup.has_data(benchmark)
    left, right = (
        Score(setup.runs(m, benchmark=benchmark, n_tasks=n, head=head), number("aa"), data=data)
        for m in (ours, theirs)
    )
    cells = (
        left,
        right,
        Difference(left, right),
        Sureness(left, right),
        Sureness(left, right, True),
    )
    return Row(HEADS[head], cells, ranked=False)


@dataclass(frozen=True)
class Sureness:
    """An interval of the difference of two scores over the seeds that both have.

    Attributes:
        left, right: the scores; right is subtracted.
        images: over test images instead of seeds.
    """

    left: Score
    right: Score
    images: bool = False

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """The runs of both sides."""
        return self.left.runs + self.right.runs

    def fill(self, archive: Archive) -> Summary:
        """Write the interval, or why there is none."""
        pairs = pairs_of(self.left, self.right, archive)
        missing = len(self.left.runs) - len(pairs)
        found = interval_over_images(pairs) if self.images else interval_over_seeds(pairs)
        words = found
        if isinstance(found, Interval):
            words = f"{found.low:+.2f} to {found.high:+.2f}{' *' if found.tells else ''}"
        return Summary(n=len(pairs), missing=missing, text=str(words))
