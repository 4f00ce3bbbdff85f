"""Tables 3 to 5: which group an adapter joins, what groups are worth, how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.cells import mean_of, words_of
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Place, Printed, Table

AA = Column("AA", mean_of("aa"), best="max")
FM = Column("FM", mean_of("fm"), best="min")
AS_PRINTED = ("cifar100", 10)  # data set and length of the paper's ablations


def _advantage(place: int) -> Printed:
    def value(line: Line, where: Place) -> Value | None:
        numbers = paper.TABLE_3.get((where.benchmark, where.n_tasks))
        return Value(numbers[place]) if numbers else None

    return value


# both open a group for each of the first ``max_groups`` tasks; afterwards one joins the largest
# cosine, the other the smallest absolute cosine, and nothing else differs
ALIKE = Line("similarity", options={"assignment": "opened_similarity"})
ORTHOGONAL = Line("orthogonality", options={"assignment": "orthogonality"})
TABLE_3 = Table(
    "Table 3. Grouping by similarity against grouping by orthogonality (%)",
    columns=[
        Column("similarity, AA", mean_of("aa"), _advantage(0), of=ALIKE),
        Column("orthogonality, AA", mean_of("aa"), _advantage(1), of=ORTHOGONAL),
        Column("advantage", mean_of("aa"), _advantage(2), of=ALIKE, minus=ORTHOGONAL),
    ],
    rows=[Line("")],
    row_title="Data set",
    benchmarks=paper.DATA_SETS,
    lengths=[20, 50],
    blocks=["head"],
    down=["benchmark", "n_tasks"],
    slips=paper.slips("3"),
)

KINDS = ("individual", "pruned", "group", "merged")
PARAMETERS = "parameters of all adapters, millions"
GAIN = "group's minus individual"
PRUNED = "individual, pruned"
# label of a row -> title of a column -> what the paper prints
TABLE_4_VALUES = {
    label: dict(zip(("individual", "group's", GAIN), numbers))
    for label, numbers in (
        *((f"task {task}", numbers[1:]) for task, numbers in paper.TABLE_4.items()),
        ("average", paper.TABLE_4_AVERAGE),
    )
}
TABLE_4_VALUES[PARAMETERS] = dict(zip(("individual", PRUNED), paper.TABLE_4_PARAMETERS))


def _models(setup: Setup, place: Place) -> Iterator[Line]:
    """List the tasks, their average, and what the adapters hold."""
    whole = {"keep_unpruned": True}
    for task in range(place.n_tasks):
        yield Line(f"task {task}", options=whole, view=_accuracies(itemgetter(task)))
    yield Line(
        "average", options=whole, view=_accuracies(lambda v: sum(v) / len(v)), words={"group": ""}
    )
    gaps = dict.fromkeys(("group", "group's", GAIN, "merged"), "")
    yield Line(PARAMETERS, options=whole, view=_millions, words=gaps)


def _accuracies(pick: Callable[[Sequence[float]], float]) -> Callable[..., Mapping[str, Any]]:
    """Make a view of a record: one accuracy of each kind in percent, and the group joined."""

    def view(record: Mapping[str, Any]) -> dict[str, Any]:
        found = record.get("hierarchy") or {}
        accuracies = {kind: 100 * pick(found[kind]) for kind in KINDS if found}
        return {**accuracies, "joined": str(pick(found["groups"])) if found else ""}

    return view


def _millions(record: Mapping[str, Any]) -> dict[str, float]:
    found = record.get("hierarchy")
    kinds = {"individual": "parameters", "pruned": "parameters_pruned"}
    return {kind: 1e-6 * sum(found[key]) for kind, key in kinds.items()} if found else {}


def _accuracy(title: str, read: str | Callable[[Mapping[str, Any]], float | None]) -> Column:
    def value(line: Line, place: Place) -> Value | None:
        printed = TABLE_4_VALUES[line.label].get(title) if place[:2] == AS_PRINTED else None
        return None if printed is None else Value(printed)

    return Column(title, mean_of(read), value)


def _gain(record: Mapping[str, Any]) -> float | None:
    return record["group"] - record["individual"] if "group" in record else None


TABLE_4 = Table(
    "Table 4. Accuracy (%) of each task among all classes, under four models",
    columns=[
        Column("group", words_of(lambda record: record["joined"])),
        _accuracy("individual", "individual"),
        _accuracy(PRUNED, "pruned"),
        _accuracy("group's", "group"),
        _accuracy(GAIN, _gain),
        _accuracy("merged", "merged"),
    ],
    rows=_models,
    row_title="Task",
    slips=[
        *paper.slips("4"),
        "the paper's classes stand in another order: only the averages compare",
    ],
)

MORE = "more (the paper's second row)"


def _numbers_of_groups(setup: Setup, place: Place) -> Iterator[Line]:
    n = place.n_tasks
    for groups in {10: (1, 2, 5), 20: (1, 2, 5, 10)}.get(n, (1, 2, 5)):
        yield Line(f"at most {groups}", options={"max_groups": groups})
    if place.benchmark == "cifar100" and n in paper.GROUPS:
        yield Line(MORE, words={"groups opened": "", "AA": "", "FM": ""})


def _printed_of_groups(line: Line, place: Place) -> Value | None:
    few, more = paper.GROUPS.get(place.n_tasks, (None, None))
    if line.label == MORE:
        return more
    default = line.options["max_groups"] == paper.DEFAULT_GROUPS
    return few if place.benchmark == "cifar100" and default else None


TABLE_5 = Table(
    "Table 5. Number of groups",
    columns=[
        Column("groups opened", words_of(lambda r: str(len(r["groups"]["group_alphas"])))),
        replace(AA, paper=_printed_of_groups),
        FM,
    ],
    rows=_numbers_of_groups,
    row_title="Groups",
    lengths=[10, 20],
    slips=[
        *paper.slips("5"),
        "the paper's second number of groups is lost in the text that we have",
    ],
)
