"""Tables 6 and 7 and the extra one: the final merge, the retained fraction, other factors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting import paper
from avalanche_ham.reporting.cells import Difference, Fixed, Score, last_of, number
from avalanche_ham.reporting.methods import HEADS
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Block, Column, Row, Table, slips
from avalanche_ham.runs.presets import preset_values
from avalanche_ham.runs.settings import resolve

MERGES = ("linear", "ties", "dare", "dare_ties", "magmax")
FRACTIONS = tuple(tenth / 10 for tenth in range(10, 0, -1))
SCORES = (Column("AA", best="max"), Column("FM", best="min"))


def table_6(setup: Setup) -> Table:
    """Table 6: the final merge: algorithm, space (products or factors) and weights."""
    blocks = []
    for benchmark, n, head, title in _places(setup):
        rows = []
        for space, name in (("delta", "products"), ("factors", "factors, as peft")):
            for merge in MERGES:
                options = {"merge": merge, "space": space}
                rows.append(_row(setup, f"{merge}, {name}", benchmark, n, head, options))
            options = {"merge": "linear", "space": space, "weights_rule": "mean"}
            label = f"linear, {name}, weights 1/G"
            rows.append(_row(setup, label, benchmark, n, head, options))
        blocks.append(Block(title, SCORES, tuple(rows), row_title="Merge"))
    space = "the paper does not say in which space it merges; its values stand beside both"
    return Table("6", "Table 6. Merging algorithm", tuple(blocks), slips=(*slips("6"), space))


def table_7(setup: Setup) -> Table:
    """Table 7: the fraction of each adapter's entries that pruning retains."""
    columns = (
        Column("stored parameters", digits=0),
        Column("reduction"),
        Column("the paper's parameters"),
        *SCORES,
    )
    blocks = []
    for benchmark, n, head, title in _places(setup):
        rows = [_fraction_row(setup, benchmark, n, head, keep) for keep in FRACTIONS]
        blocks.append(Block(title, columns, tuple(rows), row_title="Retained"))
    notes = ("stored parameters count heads too; the reduction is that of the adapters",)
    return Table("7", "Table 7. Retained fraction", tuple(blocks), notes, slips("7"))


def _fraction_row(setup: Setup, benchmark: str, n: int, head: str, keep: float) -> Row:
    runs = setup.runs("ham", benchmark=benchmark, n_tasks=n, head=head, keep=keep)
    printed = paper.RETENTION.get(keep) if (benchmark, n) == ("cifar100", 10) else None
    data = setup.has_data(benchmark)
    cells = (
        Score(runs, last_of("stored_parameters"), data=data),
        Fixed(f"{1 / keep:.2f}"),
        Fixed(f"{printed[0]:.2f} M" if printed else ""),
        Score(runs, number("aa"), Value(printed[2]) if printed else None, data),
        Score(runs, number("fm"), data=data),
    )
    return Row(f"{keep:g}", cells)


def table_extra(setup: Setup) -> Table:
    """Ours: one factor at a time round the default, and two tasks merged in three ways."""
    columns = (*SCORES, Column("AA minus default"))
    blocks = []
    for benchmark, n, head, title in _places(setup):
        rate = _learning_rate(setup, benchmark)
        default = _score(setup, benchmark, n, head, {})
        rows = [_row(setup, "default", benchmark, n, head, {}, default)]
        for label, options in _factors(rate):
            rows.append(_row(setup, label, benchmark, n, head, options, default))
        for other in HEADS:
            if other != head:
                rows.append(_row(setup, HEADS[other], benchmark, n, other, {}, default))
        blocks.append(Block(title, columns, tuple(rows), row_title="Factor"))
        blocks.append(_two_tasks(setup, benchmark, head))
    notes = ("the paper only says that concatenation was best within a group, without numbers",)
    return Table("extra", "Extra. One factor at a time", tuple(blocks), notes)


def _factors(rate: float) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "merge: factors, as peft", {"space": "factors"}
    yield "merge: weights 1/G", {"weights_rule": "mean"}
    for threshold in (-1.0, 0.0, 0.1, 0.9):
        yield f"threshold {threshold:g}", {"similarity_threshold": threshold}
    yield "all groups opened first", {"assignment": "opened_similarity"}
    yield "grouped by orthogonality", {"assignment": "orthogonality"}
    yield "no grouping", {"assignment": "none"}
    yield "within a group: linear", {"within": "linear"}
    yield "within a group: TIES", {"within": "ties"}
    yield "alphas not trained", {"train_alphas": False}
    for factor in (10, 100):
        yield f"alphas' learning rate x {factor}", {"alpha_lr": factor * rate}


def _two_tasks(setup: Setup, benchmark: str, head: str) -> Block:
    ways: dict[str, dict[str, Any]] = {
        "concatenated in one group": {"max_groups": 1},
        "linear merge of products": {"assignment": "none"},
        "linear merge of factors": {"assignment": "none", "space": "factors"},
    }
    rows = tuple(_row(setup, label, benchmark, 2, head, way) for label, way in ways.items())
    title = f"{title_of(benchmark)}, 2 tasks, {HEADS[head]}"
    return Block(title, SCORES, rows, row_title="Two adapters")


def _places(setup: Setup) -> Iterator[tuple[str, int, str, str]]:
    """Yield data set, length, head and title of each block; by default the paper's one."""
    for benchmark in setup.data_sets(("cifar100",)):
        for n in setup.lengths(benchmark, 10):
            for head in setup.head_names("linear"):
                yield benchmark, n, head, f"{title_of(benchmark)}, {n} tasks, {HEADS[head]}"


def _learning_rate(setup: Setup, benchmark: str) -> float:
    runs = setup.runs("ham", benchmark=benchmark, n_tasks=2, head="linear")
    own = {k: v for k, v in runs[0].options.items() if k == "lr"}
    return resolve("ham", preset_values(setup.preset, benchmark, "ham"), own)["lr"]


def _score(setup: Setup, benchmark: str, n: int, head: str, options: dict[str, Any]) -> Score:
    runs = setup.runs("ham", benchmark=benchmark, n_tasks=n, head=head, **options)
    printed = None
    if "merge" in options and "weights_rule" not in options and (benchmark, n) == ("cifar100", 10):
        printed = paper.MERGING.get(options["merge"])
    return Score(runs, number("aa"), printed, setup.has_data(benchmark))


def _row(
    setup: Setup,
    label: str,
    benchmark: str,
    n: int,
    head: str,
    options: dict[str, Any],
    default: Score | None = None,
) -> Row:
    aa = _score(setup, benchmark, n, head, options)
    fm = Score(aa.runs, number("fm"), data=aa.data)
    if default is None:
        return Row(label, (aa, fm))
    return Row(label, (aa, fm, Difference(aa, default)))
