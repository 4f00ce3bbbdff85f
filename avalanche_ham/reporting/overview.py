"""All that one run says of a method, side by side: accuracy, forgetting, time, size."""

from __future__ import annotations

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting import paper
from avalanche_ham.reporting.cells import Score, last_of, number
from avalanche_ham.reporting.comparison import LENGTH, training_seconds
from avalanche_ham.reporting.methods import HEADS, MethodRow, method_rows
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Block, Column, Row, Table

COLUMNS = (
    Column("AA (%)", best="max"),
    Column("FM (%)", best="min"),
    Column("training, s per task", digits=1),
    Column("trainable parameters, thousands", digits=1, deviation=False),
    Column("stored parameters, thousands", digits=1, deviation=False),
)


def table_methods(setup: Setup) -> Table:
    """Give a block per data set, length and head; a line per method."""
    heads = setup.head_names("linear", "ridge")
    blocks = []
    for benchmark in setup.data_sets(("cifar100",)):
        for n in setup.lengths(benchmark, 10, LENGTH):
            for head in heads:
                rows = tuple(
                    _row(setup, row, benchmark, n, head)
                    for row in method_rows(setup, head=head, heads=heads)
                )
                title = f"{title_of(benchmark)}, {n} tasks, {HEADS[head]}"
                blocks.append(Block(title, COLUMNS, rows))
    notes = (
        "parameters: trained in the last task; kept after it, backbone not counted",
        "a training that served several heads also took the time to feed and ask them all",
    )
    return Table("methods", "Methods side by side", tuple(blocks), notes)


def _row(setup: Setup, row: MethodRow, benchmark: str, n: int, head: str) -> Row:
    runs = setup.runs(row.method, benchmark=benchmark, n_tasks=n, head=head, **row.options)
    printed = n == LENGTH and row.in_paper
    tables = (paper.TABLE_1, paper.TABLE_2) if printed else ({}, {})
    aa, fm = (table.get(row.method, {}).get(benchmark) for table in tables)
    data = setup.has_data(benchmark)
    cells = (
        Score(runs, number("aa"), aa, data=data),
        Score(runs, number("fm"), fm, data=data),
        Score(runs, training_seconds, data=data),
        Score(runs, last_of("trainable_parameters", scale=1e-3), data=data),
        Score(runs, last_of("stored_parameters", scale=1e-3), data=data),
    )
    return Row(row.label, cells, ranked=not row.is_bound)
