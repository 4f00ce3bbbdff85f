"""Tables 6 and 7 and the extra one: the final merge, the retained fraction, other factors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.cells import last_of, mean_of
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.structure import AA, AS_PRINTED, FM
from avalanche_ham.reporting.table import HEADS, Column, Line, Place, Table
from avalanche_ham.runs.config import resolve_config


def _merges() -> Iterator[Line]:
    """List the final merge's algorithms, spaces (products or factors) and weights."""
    for space, name in (("delta", "products"), ("factors", "factors, as peft")):
        for merge in ("linear", "ties", "dare", "dare_ties", "magmax"):
            yield Line(f"{merge}, {name}", options={"merge": merge, "space": space})
        options = {"merge": "linear", "space": space, "weights_rule": "mean"}
        yield Line(f"linear, {name}, weights 1/G", options=options)


def _printed_of_merge(line: Line, place: Place) -> Value | None:
    known = place[:2] == AS_PRINTED and "weights_rule" not in line.options
    return paper.MERGING.get(line.options["merge"]) if known else None


TABLE_6 = Table(
    "Table 6. Merging algorithm",
    columns=[replace(AA, paper=_printed_of_merge), FM],
    rows=list(_merges()),
    row_title="Merge",
    slips=[
        *paper.slips("6"),
        "the paper does not say in which space it merges; its values stand beside both",
    ],
)


def _fractions(setup: Setup, place: Place) -> Iterator[Line]:
    for keep in (tenth / 10 for tenth in range(10, 0, -1)):
        printed = paper.RETENTION.get(keep) if place[:2] == AS_PRINTED else None
        theirs = f"{printed[0]:.2f} M" if printed else ""
        words = {"reduction": f"{1 / keep:.2f}", "the paper's parameters": theirs}
        yield Line(f"{keep:g}", options={"keep": keep}, words=words)


def _printed_of_fraction(line: Line, place: Place) -> Value | None:
    known = place[:2] == AS_PRINTED and line.options["keep"] in paper.RETENTION
    return Value(paper.RETENTION[line.options["keep"]][2]) if known else None


TABLE_7 = Table(
    "Table 7. Retained fraction",
    columns=[
        Column("stored parameters", last_of("stored_parameters"), digits=0),
        Column("reduction"),
        Column("the paper's parameters"),
        replace(AA, paper=_printed_of_fraction),
        FM,
    ],
    rows=_fractions,
    row_title="Retained",
    notes=["stored parameters count heads too; the reduction is that of the adapters"],
    slips=paper.slips("7"),
)

DEFAULT = Line("default")
FACTORS: dict[str, dict[str, Any]] = {
    "merge: factors, as peft": {"space": "factors"},
    "merge: weights 1/G": {"weights_rule": "mean"},
    **{f"threshold {t:g}": {"similarity_threshold": t} for t in (-1.0, 0.0, 0.1, 0.9)},
    "all groups opened first": {"assignment": "opened_similarity"},
    "grouped by orthogonality": {"assignment": "orthogonality"},
    "no grouping": {"assignment": "none"},
    "within a group: linear": {"within": "linear"},
    "within a group: TIES": {"within": "ties"},
    "alphas not trained": {"train_alphas": False},
}
TWO_ADAPTERS: dict[str, dict[str, Any]] = {
    "concatenated in one group": {"max_groups": 1},
    "linear merge of products": {"assignment": "none"},
    "linear merge of factors": {"assignment": "none", "space": "factors"},
}


def _factors(setup: Setup, place: Place) -> Iterator[Line]:
    """List the default and what differs from it in one factor, heads among them."""
    yield DEFAULT
    yield from (Line(label, options=options) for label, options in FACTORS.items())
    rate = resolve_config(setup.runs("ham", **place._asdict())[0]).options["lr"]
    for factor in (10, 100):
        options = {"alpha_lr": float(f"{factor * rate:g}")}
        yield Line(f"alphas' learning rate x {factor}", options=options)
    for head in ("linear", "ncm", "ridge", "lda"):
        if head != place.head:
            yield Line(HEADS[head], options={"head": head})


TABLE_EXTRA = Table(
    "Extra. One factor at a time",
    columns=[AA, FM, Column("AA minus default", mean_of("aa"), minus=DEFAULT)],
    rows=_factors,
    row_title="Factor",
    also=[
        Table(
            "",
            columns=[AA, FM],
            rows=[Line(label, options=options) for label, options in TWO_ADAPTERS.items()],
            row_title="Two adapters",
            lengths=[2],
        )
    ],
    notes=["the paper only says that concatenation was best within a group, without numbers"],
)
