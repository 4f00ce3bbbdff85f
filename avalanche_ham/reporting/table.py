"""A table: what it shows, before and after the records are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.aggregate import Summary, average_of
from avalanche_ham.reporting.cells import Cell, Score
from avalanche_ham.reporting.noise import within_noise
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig


@dataclass(frozen=True)
class Column:
    """A heading; ``best`` is ``max``, ``min`` or empty, ``digits`` those after the point.

    ``averaged`` columns enter the average; without ``deviation`` a mean is shown alone.
    """

    title: str
    best: str = ""
    digits: int = 2
    averaged: bool = False
    deviation: bool = True


@dataclass(frozen=True)
class Row:
    """A label and a cell per column; unless ``ranked`` it is never the best (a bound)."""

    label: str
    cells: tuple[Cell, ...]
    ranked: bool = True


@dataclass(frozen=True)
class Block:
    """Rows that are compared with each other."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    row_title: str = "Method"


@dataclass(frozen=True)
class Table:
    """A table as it is meant: every cell knows its runs.

    ``slips`` are said only if a value of the paper stands in the table.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    slips: tuple[str, ...] = ()

    def runs(self) -> Iterator[RunConfig]:
        """All runs, in reading order; one run may serve several cells."""
        for block in self.blocks:
            for row in block.rows:
                for cell in row.cells:
                    yield from cell.runs


def slips(name: str) -> tuple[str, ...]:
    """Give notes on where a table of the paper contradicts itself."""
    return tuple(f"a slip in the paper: {slip}" for slip in paper.SLIPS[name])


@dataclass(frozen=True)
class FilledRow:
    """A row with numbers; ``best`` marks the cells that lead their column.

    ``near`` marks those that may be as good, see ``within_noise``; empty marks none.
    """

    label: str
    cells: tuple[Summary, ...]
    best: tuple[bool, ...]
    near: tuple[bool, ...] = ()

    def marked(self) -> Iterator[tuple[Summary, bool, bool]]:
        """Give each cell, whether it is best, and whether it is near."""
        yield from zip(self.cells, self.best, self.near or (False,) * len(self.cells), strict=True)


@dataclass(frozen=True)
class FilledBlock:
    """A block with numbers and, where columns are averaged, one more column."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[FilledRow, ...]
    row_title: str


@dataclass(frozen=True)
class FilledTable:
    """A table with numbers and notes, ready to be written in any format."""

    name: str
    title: str
    blocks: tuple[FilledBlock, ...]
    notes: tuple[str, ...]


def fill(table: Table, archive: Archive) -> FilledTable:
    """Read every cell of a table from the records."""
    blocks = tuple(_fill_block(block, archive) for block in table.blocks)
    return FilledTable(table.name, table.title, blocks, table.notes)


def _fill_block(block: Block, archive: Archive) -> FilledBlock:
    grid = [[cell.fill(archive) for cell in row.cells] for row in block.rows]
    columns = list(block.columns)
    present = [
        i
        for i, column in enumerate(columns)
        if column.averaged and any(cells[i].n for cells in grid)
    ]
    if len(present) > 1:
        names = ", ".join(columns[i].title for i in present)
        columns.append(replace(columns[present[0]], title=f"Average ({names})"))
        for cells in grid:
            cells.append(average_of([cells[i] for i in present]))
    best = [_leaders(column, [c[i] for c in grid], block) for i, column in enumerate(columns)]
    near = [_near(block, i, leads, archive) for i, leads in enumerate(best)]
    rows = tuple(
        FilledRow(row.label, tuple(cells), tuple(b[r] for b in best), tuple(n[r] for n in near))
        for r, (row, cells) in enumerate(zip(block.rows, grid))
    )
    return FilledBlock(block.title, tuple(columns), rows, block.row_title)


def _near(block: Block, index: int, leads: list[bool], archive: Archive) -> list[bool]:
    """Mark the ranked cells of a column that are within noise of its best."""
    near = [False] * len(leads)
    if any(leads) and index < len(block.columns):  # an average has no runs of its own
        best = block.rows[leads.index(True)].cells[index]
        for place, row in enumerate(block.rows):
            cell = row.cells[index]
            if row.ranked and not leads[place] and isinstance(cell, Score):
                near[place] = isinstance(best, Score) and within_noise(cell, best, archive)
    return near


def _leaders(column: Column, cells: list[Summary], block: Block) -> list[bool]:
    """Mark the best mean of a column; equal ones, as printed, lead together.

    Only cells with all their runs are ranked: means over different seeds do not compare.
    """
    means = [
        (
            round(cell.mean, column.digits)
            if row.ranked and cell.mean is not None and cell.n == cell.total
            else None
        )
        for row, cell in zip(block.rows, cells)
    ]
    known = [mean for mean in means if mean is not None]
    if not column.best or len(known) < 2:
        return [False] * len(cells)
    leader = max(known) if column.best == "max" else min(known)
    return [mean == leader for mean in means]
