"""Tables 3 to 5: which group an adapter joins, what groups are worth, how many there are."""

from __future__ import annotations

from collections.abc import Callable

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.archive import Record
from avalanche_ham.reporting.cells import Difference, Fixed, Score, Words, number
from avalanche_ham.reporting.methods import HEADS
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import TITLES, Setup
from avalanche_ham.reporting.table import Block, Column, Row, Table, slips

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
        rows = []
        for benchmark in setup.data_sets():
            for n in setup.lengths(benchmark, 20, 50):
                printed = _values(paper.TABLE_3.get((benchmark, n), ()))
                similar, orthogonal = (
                    Score(
                        setup.runs(
                            "ham",
                            benchmark=benchmark,
                            n_tasks=n,
                            head=head,
                            assignment=rule,
                        ),
                        number("aa"),
                        value,
                        data=setup.has_data(benchmark),
                    )
                    for rule, value in zip(
                        ("opened_similarity", "orthogonality"), printed
                    )
                )
                gain = Difference(similar, orthogonal, printed[2])
                rows.append(
                    Row(f"{TITLES[benchmark]}, {n} tasks", (similar, orthogonal, gain))
                )
        blocks.append(Block(HEADS[head], columns, tuple(rows), row_title="Data set"))
    title = "Table 3. Grouping by similarity against grouping by orthogonality (%)"
    return Table("3", title, tuple(blocks), slips=slips("3"))


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
    runs = setup.runs(
        "ham", benchmark=benchmark, n_tasks=n, head=head, keep_unpruned=True
    )
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

    def row(label: str, task: int | None, values: tuple[float, ...]) -> Row:
        individual, group, gain = [Value(v) for v in values] or [None] * 3
        papers = {"individual": individual, "group": group}
        scores = {k: Score(runs, _of_task(k, task), papers.get(k), data) for k in KINDS}
        first = Fixed("") if task is None else Words(runs, _group_of(task))
        more = Difference(scores["group"], scores["individual"], gain)
        cells = (first, *(scores[k] for k in KINDS[:3]), more, scores["merged"])
        return Row(label, cells)

    rows = [row(f"task {t}", t, printed.get(t, ())[1:]) for t in range(n)]
    rows.append(row("average", None, paper.TABLE_4_AVERAGE if printed else ()))
    parameters = Row(
        "parameters of all adapters",
        (
            Fixed(""),
            Score(runs, _parameters("parameters"), _millions(printed, 0), data),
            Score(runs, _parameters("parameters_pruned"), _millions(printed, 1), data),
            *[Fixed("")] * 3,
        ),
    )
    title = f"{TITLES[benchmark]}, {n} tasks, {HEADS[head]}"
    return Block(title, columns, (*rows, parameters), row_title="Task")


def _of_task(kind: str, task: int | None) -> Callable[[Record], float | None]:
    def read(record: Record) -> float | None:
        found = record.get("hierarchy")
        if not found:
            return None
        values = found[kind]
        return 100 * (sum(values) / len(values) if task is None else values[task])

    return read


def _group_of(task: int) -> Callable[[Record], str]:
    return lambda record: (
        str(record["hierarchy"]["groups"][task]) if record["hierarchy"] else ""
    )


def _parameters(key: str) -> Callable[[Record], float | None]:
    return lambda record: (
        sum(record["hierarchy"][key]) if record.get("hierarchy") else None
    )


def _millions(printed: dict, index: int) -> Value | None:
    return Value(1e6 * paper.TABLE_4_PARAMETERS[index]) if printed else None


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
                title = f"{TITLES[benchmark]}, {n} tasks, {HEADS[head]}"
                blocks.append(Block(title, columns, rows, row_title="Groups"))
    lost = "the paper's second number of groups is lost in the text that we have"
    return Table(
        "5", "Table 5. Number of groups", tuple(blocks), slips=(*slips("5"), lost)
    )


def _group_rows(setup: Setup, benchmark: str, n: int, head: str) -> tuple[Row, ...]:
    few, more = (
        paper.GROUPS.get(n, (None, None)) if benchmark == "cifar100" else (None, None)
    )
    data = setup.has_data(benchmark)
    rows = []
    for groups in MORE_GROUPS.get(n, (1, 2, 5)):
        runs = setup.runs(
            "ham", benchmark=benchmark, n_tasks=n, head=head, max_groups=groups
        )
        printed = few if groups == paper.DEFAULT_GROUPS else None
        cells = (
            Words(runs, lambda record: str(len(record["groups"]["group_alphas"]))),
            Score(runs, number("aa"), printed, data),
            Score(runs, number("fm"), data=data),
        )
        rows.append(Row(f"at most {groups}", cells))
    if more is not None:
        cells = (Fixed(""), Score((), number("aa"), more), Score((), number("fm")))
        rows.append(Row("more (the paper's second row)", cells))
    return tuple(rows)
