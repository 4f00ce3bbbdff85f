"""Tables 1 and 2, and the numbers of Figures 2 and 3: all methods beside each other."""

from __future__ import annotations

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting import paper
from avalanche_ham.reporting.cells import Metric, Score, number
from avalanche_ham.reporting.methods import HEADS, MethodRow, method_rows
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Block, Column, Row, Table, slips
from avalanche_ham.runs.records import Record

LENGTH = 50  # tasks, in the paper's Tables 1 and 2
LENGTHS = (10, 20, 50, 100)  # in its Figure 2; not every data set has as many classes
DIGITS_LENGTHS = (2, 5, 10)
FIGURE_3 = ("ham", "sd_lora", "inflora")  # the methods that the paper times


def table_1(setup: Setup) -> Table:
    """Table 1: average accuracy (AA) after 50 tasks, all methods."""
    title = "Table 1. Average accuracy AA (%)"
    return _comparison(setup, "1", title, number("aa"), "max", paper.TABLE_1)


def table_2(setup: Setup) -> Table:
    """Table 2: forgetting (FM) of the same runs."""
    title = "Table 2. Forgetting FM (%, less is better): peak minus final accuracy"
    return _comparison(setup, "2", title, number("fm"), "min", paper.TABLE_2)


def _comparison(
    setup: Setup, name: str, title: str, metric: Metric, best: str, papers: paper.Table
) -> Table:
    places = [(b, n) for b in setup.data_sets() for n in setup.lengths(b, LENGTH)]
    lengths = {n for _, n in places}
    if len(lengths) == 1:
        columns = tuple(Column(title_of(b), best=best, averaged=True) for b, _ in places)
        title += f" after {lengths.pop()} tasks"
    else:  # an average over streams of different lengths would mean nothing
        columns = tuple(Column(f"{title_of(b)}, {n} tasks", best=best) for b, n in places)
    heads = setup.head_names("linear", "ridge")
    blocks = []
    for head in heads:
        rows = []
        for row in method_rows(setup, head=head, heads=heads):
            printed = papers.get(row.method, {}) if row.in_paper else {}
            cells = [_score(setup, row, b, n, head, metric, printed) for b, n in places]
            rows.append(Row(row.label, tuple(cells), ranked=not row.is_bound))
        blocks.append(Block(HEADS[head], columns, tuple(rows)))
    return Table(name, title, tuple(blocks), slips=slips(name))


def _score(
    setup: Setup,
    row: MethodRow,
    benchmark: str,
    n: int,
    head: str,
    metric: Metric,
    printed: dict[str, paper.Value],
) -> Score:
    runs = setup.runs(row.method, benchmark=benchmark, n_tasks=n, head=head, **row.options)
    value = printed.get(benchmark) if n == LENGTH else None
    return Score(runs, metric, value, data=setup.has_data(benchmark))


def figure_2(setup: Setup) -> Table:
    """Figure 2: AA over the number of tasks, one block per data set and head."""
    blocks = []
    for benchmark in setup.data_sets():
        wanted = DIGITS_LENGTHS if benchmark == "digits" else LENGTHS
        lengths = setup.tasks or wanted
        columns = tuple(Column(f"{n} tasks", best="max") for n in lengths)
        for head in setup.head_names("linear"):
            rows = tuple(
                Row(
                    row.label,
                    tuple(_length_cell(setup, row, benchmark, n, head) for n in lengths),
                    ranked=not row.is_bound,
                )
                for row in method_rows(setup, head=head, heads=(head,))
                if row.in_paper or setup.methods
            )
            blocks.append(Block(f"{title_of(benchmark)}, {HEADS[head]}", columns, rows))
    return Table("figure 2", "Figure 2. AA (%) over the number of tasks", tuple(blocks))


def _length_cell(setup: Setup, row: MethodRow, benchmark: str, n: int, head: str) -> Score:
    printed = None
    if row.in_paper and n == LENGTH:
        printed = paper.TABLE_1.get(row.method, {}).get(benchmark)
    elif row.method == "ham" and benchmark == "cifar100" and not row.options:
        printed = paper.HAM_BY_LENGTH.get(n)
    runs = setup.runs(row.method, benchmark=benchmark, n_tasks=n, head=head, **row.options)
    return Score(runs, number("aa"), printed, data=setup.has_data(benchmark))


def figure_3(setup: Setup) -> Table:
    """Figure 3: seconds per task, in training and for inference with the final model.

    Inference is the last evaluation, which runs over all test images, divided by the tasks.
    """
    columns = (
        Column("training, s per task", best="min", digits=3),
        Column("inference, s per task", best="min", digits=3),
    )
    blocks = []
    for benchmark in setup.data_sets(("cifar100",)):
        for n in setup.lengths(benchmark, 10):
            for head in setup.head_names("linear"):
                rows = [
                    _time_row(setup, row, benchmark, n, head) for row in _timed_rows(setup, head)
                ]
                title = f"{title_of(benchmark)}, {n} tasks, {HEADS[head]}"
                blocks.append(Block(title, columns, tuple(rows)))
    notes = (
        "the paper prints no times; it calls HAM roughly twice as fast as SD-LoRA",
        "a training that served several heads also took the time to feed and ask them all",
    )
    return Table("figure 3", "Figure 3. Time per task", tuple(blocks), notes)


def _timed_rows(setup: Setup, head: str) -> list[MethodRow]:
    """List HAM, then what the paper times it against, then the rest."""
    listed = method_rows(setup, head=head, heads=(head,))
    rows = [row for row in listed if not (row.options or row.is_bound)]
    return sorted(rows, key=lambda r: FIGURE_3.index(r.method) if r.method in FIGURE_3 else 9)


def _time_row(setup: Setup, row: MethodRow, benchmark: str, n: int, head: str) -> Row:
    runs = setup.runs(row.method, benchmark=benchmark, n_tasks=n, head=head, **row.options)
    data = setup.has_data(benchmark)
    cells = (
        Score(runs, training_seconds, data=data),
        Score(runs, inference_seconds, data=data),
    )
    return Row(row.label, cells)


def training_seconds(record: Record) -> float:
    """Seconds of training per task, averaged over a run's tasks."""
    return sum(record["train_seconds"]) / record["n_tasks"]


def inference_seconds(record: Record) -> float:
    """Seconds per task of the last evaluation, which runs over all test images."""
    return record["eval_seconds"][-1] / record["n_tasks"]
