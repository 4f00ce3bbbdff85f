"""Tables 3 to 5: which group an adapter joins, what groups are worth, how many there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting import paper
from avalanche_ham.reporting.cells import Cell, Difference, Fixed, Score, Words, number
from avalanche_ham.reporting.methods import HEADS
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Block, Column, Row, Table, slips
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.records import Record

KINDS = ("individual", "pruned", "group", "merged")
MORE_GROUPS = {10: (1, 2, 5), 20: (1, 2, 5, 10)}


def table_3(setup: Setup) -> Table:
    """Table 3: groups by similarity against groups by orthogonality.

    Both open a group for each of the first ``max_groups`` tasks; afterwards one joins the
    largest cosine, the other the smallest absolute cosine. Nothing else differs.
    """
    columns = (
        Column("similarity, AA"),
        Column("orthogonality, AA"),
        Column("advantage"),
    )
    blocks = []
    for head in setup.head_names("linear"):
        rows = tuple(
            _arms(setup, benchmark, n, head)
            for benchmark in setup.data_sets()
            for n in setup.lengths(benchmark, 20, 50)
        )
        blocks.append(Block(HEADS[head], columns, rows, row_title="Data set"))
    title = "Table 3. Grouping by similarity against grouping by orthogonality (%)"
    return Table("3", title, tuple(blocks), slips=slips("3"))


def _arms(setup: Setup, benchmark: str, n: int, head: str) -> Row:
    printed = _values(paper.TABLE_3.get((benchmark, n), ()))
    similar, orthogonal = (
        Score(
            setup.runs("ham", benchmark=benchmark, n_tasks=n, head=head, assignment=rule),
            number("aa"),
            value,
            data=setup.has_data(benchmark),
        )
        for rule, value in zip(("opened_similarity", "orthogonality"), printed)
    )
    gain = Difference(similar, orthogonal, printed[2])
    return Row(f"{title_of(benchmark)}, {n} tasks", (similar, orthogonal, gain))


def _values(numbers: Sequence[float]) -> list[Value | None]:
    """Make three of the paper's values, or three gaps."""
    return [Value(n) for n in numbers] if numbers else [None] * 3


def table_4(setup: Setup) -> Table:
    """Table 4: each task under its own adapter, its group's, and the merged model."""
    blocks = []
    for benchmark in setup.data_sets(("cifar100",)):
        for n in setup.lengths(benchmark, 10):
            for head in setup.head_names("linear"):
                blocks.append(_hierarchy_block(setup, benchmark, n, head))
    title = "Table 4. Accuracy (%) of each task among all classes, under four models"
    order = "the paper's classes stand in another order: only the averages compare"
    return Table("4", title, tuple(blocks), slips=(*slips("4"), order))


def _hierarchy_block(setup: Setup, benchmark: str, n: int, head: str) -> Block:
    runs = setup.runs("ham", benchmark=benchmark, n_tasks=n, head=head, keep_unpruned=True)
    data = setup.has_data(benchmark)
    columns = (
        Column("group"),
        Column("individual"),
        Column("individual, pruned"),
        Column("group's"),
        Column("group's minus individual"),
        Column("merged"),
    )
    printed = paper.TABLE_4 if (benchmark, n) == ("cifar100", 10) else {}
    rows = [_task_row(runs, data, t, printed[t][1:] if printed else ()) for t in range(n)]
    rows.append(_task_row(runs, data, None, paper.TABLE_4_AVERAGE if printed else ()))
    before, after = (
        Score(runs, _millions(key), Value(value) if printed else None, data)
        for key, value in zip(("parameters", "parameters_pruned"), paper.TABLE_4_PARAMETERS)
    )
    gap = Fixed("")
    label = "parameters of all adapters, millions"
    rows.append(Row(label, (gap, before, after, gap, gap, gap)))
    title = f"{title_of(benchmark)}, {n} tasks, {HEADS[head]}"
    return Block(title, columns, tuple(rows), row_title="Task")


def _task_row(
    runs: tuple[RunConfig, ...], data: bool, task: int | None, printed: Sequence[float]
) -> Row:
    """Give the row of one task, or with None the one of the average over tasks."""
    individual, group, gain = _values(printed)
    papers = {"individual": individual, "group": group}
    scores = {k: Score(runs, _of_task(k, task), papers.get(k), data) for k in KINDS}
    first: Cell = Fixed("") if task is None else Words(runs, _group_of(task))
    more = Difference(scores["group"], scores["individual"], gain)
    cells = (first, *(scores[k] for k in KINDS[:3]), more, scores["merged"])
    return Row("average" if task is None else f"task {task}", cells)


def _of_task(kind: str, task: int | None) -> Callable[[Record], float | None]:
    def read(record: Record) -> float | None:
        """Give the accuracy in percent, None where a record has no hierarchy."""
        found = record.get("hierarchy")
        if not found:
            return None
        values = found[kind]
        return 100 * (sum(values) / len(values) if task is None else values[task])

    return read


def _group_of(task: int) -> Callable[[Record], str]:
    def read(record: Record) -> str:
        found = record["hierarchy"]
        return str(found["groups"][task]) if found else ""

    return read


def _millions(key: str) -> Callable[[Record], float | None]:
    def read(record: Record) -> float | None:
        found = record["hierarchy"]
        return 1e-6 * sum(found[key]) if found else None

    return read


def table_5(setup: Setup) -> Table:
    """Table 5: how many groups there may be, at 10 and 20 tasks."""
    columns = (
        Column("groups opened"),
        Column("AA", best="max"),
        Column("FM", best="min"),
    )
    blocks = []
    for benchmark in setup.data_sets(("cifar100",)):
        for n in setup.lengths(benchmark, 10, 20):
            for head in setup.head_names("linear"):
                rows = _group_rows(setup, benchmark, n, head)
                title = f"{title_of(benchmark)}, {n} tasks, {HEADS[head]}"
                blocks.append(Block(title, columns, rows, row_title="Groups"))
    lost = "the paper's second number of groups is lost in the text that we have"
    return Table("5", "Table 5. Number of groups", tuple(blocks), slips=(*slips("5"), lost))


def _group_rows(setup: Setup, benchmark: str, n: int, head: str) -> tuple[Row, ...]:
    few, more = paper.GROUPS.get(n, (None, None)) if benchmark == "cifar100" else (None, None)
    data = setup.has_data(benchmark)
    rows = []
    for groups in MORE_GROUPS.get(n, (1, 2, 5)):
        runs = setup.runs("ham", benchmark=benchmark, n_tasks=n, head=head, max_groups=groups)
        printed = few if groups == paper.DEFAULT_GROUPS else None
        cells = (
            Words(runs, lambda record: str(len(record["groups"]["group_alphas"]))),
            Score(runs, number("aa"), printed, data),
            Score(runs, number("fm"), data=data),
        )
        rows.append(Row(f"at most {groups}", cells))
    if more is not None:
        only = Score((), number("aa"), more)
        rows.append(Row("more (the paper's second row)", (Fixed(""), only, Fixed(""))))
    return tuple(rows)
