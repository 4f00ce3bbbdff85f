"""From a declared table to its cells, and from cells to numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from avalanche_ham.reporting.aggregate import Summary, average_of
from avalanche_ham.reporting.cells import Cell, Found
from avalanche_ham.reporting.machines import machines_of
from avalanche_ham.reporting.noise import within_noise
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Place, Table
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig

Content = TypeVar("Content", Cell, Summary)  # before and after the records are read
NOTHING = Cell((), lambda found: Summary(text=""))  # of a row that another place has


@dataclass(frozen=True)
class Row(Generic[Content]):
    """A label and a cell per column.

    ``best`` marks the cells that lead their column, ``near`` those that may be as good; none where
    they are empty.
    """

    label: str
    cells: tuple[Content, ...]
    ranked: bool = True
    best: tuple[bool, ...] = ()
    near: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Block(Generic[Content]):
    """Rows that are compared with each other."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row[Content], ...]
    row_title: str = "Method"


@dataclass(frozen=True)
class Sheet(Generic[Content]):
    """A table laid out: its blocks, of cells that know their runs or of numbers."""

    title: str
    blocks: tuple[Block[Content], ...]
    notes: tuple[str, ...] = ()
    slips: tuple[str, ...] = ()

    def cells(self) -> Iterator[Content]:
        """All cells, in reading order."""
        return (cell for block in self.blocks for row in block.rows for cell in row.cells)


def runs_of(sheet: Sheet[Cell]) -> Iterator[RunConfig]:
    """All runs of a table, in reading order; one run may serve several cells."""
    return (run for cell in sheet.cells() for run in cell.runs)


def needs_of(sheet: Sheet[Cell]) -> frozenset[str]:
    """Entries that some column of a table needs and only probes measure."""
    return frozenset(name for cell in sheet.cells() for name in cell.needs)


def timed_runs_of(sheet: Sheet[Cell]) -> Iterator[RunConfig]:
    """All runs behind a table's columns of times."""
    return (
        run
        for block in sheet.blocks
        for row in block.rows
        for column, cell in zip(block.columns, row.cells)
        if column.timed
        for run in cell.runs
    )


def lay_out(table: Table | Callable[[Setup], Table], setup: Setup) -> Sheet[Cell]:
    """Give a table's cells: those of each block's places, rows and columns."""
    if not isinstance(table, Table):
        table = table(setup)
    setup = replace(setup, heads=setup.heads or tuple(table.heads))
    places = [
        Place(benchmark, n, head)
        for benchmark in setup.benchmarks or table.benchmarks
        for n in setup.lengths(benchmark, table.lengths)
        for head in setup.heads or ()
    ]
    across = [name for name in Place._fields if name not in (*table.blocks, *table.down)]
    title = table.title
    parts = []  # a table or one that follows it, where its block takes place
    for group in _grouped(places, table.blocks):
        parts.append((table, group))
        parts += [(other, _of_its_length(other, setup, group)) for other in table.also]
    parts = [(part, there) for part, there in parts if there]
    if len(across) > 1 and len({place.n_tasks for _, there in parts for place in there}) == 1:
        across.remove("n_tasks")  # one length is said once
        title += f" after {places[0].n_tasks} tasks"
    blocks = []
    for part, there in parts:
        block = _block(part, setup, there, across)
        if part is table:
            blocks.append(block)
        elif block.rows:  # else no method of it was asked for
            blocks.append(replace(block, title=_joined(part.title, block.title)))
    return Sheet(title, tuple(blocks), tuple(table.notes), tuple(table.slips))


def _of_its_length(table: Table, setup: Setup, places: Sequence[Place]) -> list[Place]:
    """Give the places of a table that follows another one, in the order of the other's."""
    return [
        place._replace(n_tasks=n)
        for place in places
        for n in (
            table.lengths(place.benchmark)
            if callable(table.lengths)
            else table.lengths or [place.n_tasks]
        )
        if setup.allows(place.benchmark, n)
    ]


def _grouped(places: Sequence[Place], dimensions: Sequence[str]) -> list[list[Place]]:
    """Gather places that are alike in some dimensions, in the order of the first of each."""
    groups: dict[str, list[Place]] = {}
    for place in places:
        groups.setdefault(repr([getattr(place, name) for name in dimensions]), []).append(place)
    return list(groups.values())


def _block(
    table: Table, setup: Setup, places: Sequence[Place], across: Sequence[str]
) -> Block[Cell]:
    groups = _grouped(places, table.down)
    columns = tuple(
        replace(
            column,
            title=_joined(place.words(across), column.title),
            # an average over streams of different lengths would mean nothing
            averaged=column.averaged and "n_tasks" not in across,
        )
        for place in groups[0]
        for column in table.columns
    )
    rows = []
    for group in groups:
        lines = [_lines_at(table, setup, place) for place in group]
        for label in dict.fromkeys(label for there in lines for label in there):
            cells = [
                _cell(setup, there[label], place, column) if label in there else NOTHING
                for place, there in zip(group, lines)
                for column in table.columns
            ]
            ranked = not any(there[label].is_bound for there in lines if label in there)
            words = _joined(group[0].words(table.down), label)
            rows.append(Row(words, tuple(cells), ranked=ranked))
    return Block(places[0].words(table.blocks), columns, tuple(rows), table.row_title)


def _lines_at(table: Table, setup: Setup, place: Place) -> dict[str, Line]:
    """Give a table's rows at a place by their labels, of which no two are alike."""
    lines = list(table.rows(setup, place) if callable(table.rows) else table.rows)
    found = {line.label: line for line in lines}
    assert len(found) == len(lines), [line.label for line in lines]
    return found


def _joined(*words: str) -> str:
    return ", ".join(filter(None, words))


def _cell(setup: Setup, line: Line, place: Place, column: Column) -> Cell:
    """Give the cell of a row, a place and a column."""
    printed = column.paper(line, place)
    if column.title in line.words:
        return Cell((), lambda found: Summary(text=line.words[column.title]), printed)

    def statistic(found: Found) -> Summary:
        return column.statistic([[line.view(record) for record in seed] for seed in found])

    sides = [column.of or line, *([column.minus] if column.minus else [])]
    runs = [setup.runs(s.method, **{**place._asdict(), **s.options}) for s in sides]
    there = setup.has_data(place.benchmark)
    return Cell(tuple(zip(*runs)), statistic, printed, there, column.needs)


def fill(sheet: Sheet[Cell], archive: Archive) -> Sheet[Summary]:
    """Read every cell of a table from the records."""
    blocks = tuple(_fill_block(block, archive) for block in sheet.blocks)
    return Sheet(sheet.title, blocks, sheet.notes, sheet.slips)


def _fill_block(block: Block[Cell], archive: Archive) -> Block[Summary]:
    grid = [[cell.fill(archive) for cell in row.cells] for row in block.rows]
    columns = list(block.columns)
    averaged = [i for i, column in enumerate(columns) if column.averaged]
    present = [i for i in averaged if any(cells[i].n for cells in grid)]
    if len(present) > 1:
        names = ", ".join(columns[i].title for i in present)
        columns.append(replace(columns[present[0]], title=f"Average ({names})"))
        for cells in grid:
            cells.append(average_of([cells[i] for i in present]))
    best = [
        _leaders(column, [c[i] for c in grid], block)
        if _compares(block, i, archive)
        else [False] * len(grid)
        for i, column in enumerate(columns)
    ]
    near = [_near(block, i, leads, archive) for i, leads in enumerate(best)]
    rows = tuple(
        Row(row.label, tuple(cells), row.ranked, leads, close)
        for row, cells, leads, close in zip(block.rows, grid, zip(*best), zip(*near))
    )
    return Block(block.title, tuple(columns), rows, block.row_title)


def _compares(block: Block[Cell], index: int, archive: Archive) -> bool:
    """Whether the cells of a column may be ranked: times only of one machine."""
    if index >= len(block.columns):  # an average, of accuracies
        return True
    column = block.columns[index]
    if not (column.timed and column.best):
        return True
    runs = (run for row in block.rows for run in row.cells[index].runs)
    return len(machines_of(runs, archive)) < 2


def _near(block: Block[Cell], index: int, leads: list[bool], archive: Archive) -> list[bool]:
    """Mark the ranked cells of a column that are within noise of its best."""
    if not any(leads) or index >= len(block.columns):  # an average has no runs of its own
        return [False] * len(leads)
    best = block.rows[leads.index(True)].cells[index]
    return [
        row.ranked and not leading and within_noise(row.cells[index], best, archive)
        for row, leading in zip(block.rows, leads)
    ]


def _leaders(column: Column, cells: list[Summary], block: Block[Cell]) -> list[bool]:
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
