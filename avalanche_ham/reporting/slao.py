"""SLAO's ablation: how far a task moves the merge, where it starts, what merges, what is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avalanche_ham.reporting.cells import mean_of
from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.pam import asked
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Place, Table
from avalanche_ham.reporting.transfer import ACC, COLUMNS, NOTES

PAPER = {"merge_weight": "sqrt"}  # whatever a preset has found to be better
WHOLE = Line(f"{LABELS['slao']}, weight 1/sqrt(i)", "slao", PAPER)
VARIANTS: dict[str, dict[str, Any]] = {
    "weight 1/i": {"merge_weight": "inverse"},
    "weight 0.5": {"merge_weight": 0.5},
    "weight 1: no merge": {"merge_weight": 1.0},
    "start from the merged pair": {"init": "merged"},
    "fresh start": {"init": "random"},
    "B merged without the rest: A not made orthonormal": {"orthonormal": False},
    "A merged": {"merged": "a"},
    "A and B merged": {"merged": "both"},
    "A frozen, B merged": {"frozen": "a"},
    "B frozen, A merged": {"frozen": "b", "merged": "a"},
}


def rows(setup: Setup, place: Place) -> Iterator[Line]:
    """List SLAO, its variants, and what its paper compares it with."""
    yield WHOLE
    for label, options in VARIANTS.items():
        yield Line(label, "slao", {**PAPER, **options})
    for name in setup.chosen("lora", "o_lora", "magmax", "inflora"):
        if name != WHOLE.method:  # where it was asked for by name
            yield Line(LABELS.get(name, name), name)


SLAO_TABLE = Table(
    "SLAO. One factor at a time",
    columns=[ACC, Column("ACC minus SLAO's", mean_of("aa"), minus=WHOLE), *COLUMNS[1:]],
    rows=asked(rows),
    heads=("linear", "ridge"),
    notes=[*NOTES, "the paper's own numbers are of Llama on text, and so not beside these"],
)
