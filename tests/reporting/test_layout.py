"""Which cells lead their column."""

from __future__ import annotations

import pytest

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.cells import Cell
from avalanche_ham.reporting.layout import Block, Row, Sheet, fill
from avalanche_ham.reporting.table import Column
from avalanche_ham.runs.archive import Archive


class Given(Cell):
    """A cell whose content is given."""

    def fill(self, archive):
        return self.statistic


def leaders(best: str, *cells: Summary) -> list[bool]:
    rows = tuple(Row(str(i), (Given((), cell),)) for i, cell in enumerate(cells))
    block = Block("block", (Column("AA", best=best),), rows)
    (filled,) = fill(Sheet("table", (block,)), Archive()).blocks
    return [row.best[0] for row in filled.rows]


def whole(mean: float) -> Summary:
    return Summary(mean=mean, n=3)


@pytest.mark.parametrize(("best", "led"), [("max", [0, 1, 1]), ("min", [1, 0, 0])])
def test_equal_means_as_printed_lead_together(best, led):
    assert leaders(best, whole(69.0), whole(70.001), whole(70.002)) == [*map(bool, led)]


@pytest.mark.parametrize("gap", ["missing", "failed", "undefined"])
def test_a_mean_over_fewer_seeds_does_not_lead_nor_keep_another_from_it(gap):
    part = Summary(mean=99.0, n=1, **{gap: 2})
    assert leaders("max", part, whole(69.0), whole(70.0)) == [False, False, True]


def test_one_complete_cell_alone_does_not_lead():
    part = Summary(mean=60.0, n=1, missing=2)
    assert leaders("max", part, part, whole(70.0)) == [False] * 3
