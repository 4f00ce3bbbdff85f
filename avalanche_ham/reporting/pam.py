"""PAM's tables: methods by accuracy and transfer, what alignment is worth, starts, ranks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from avalanche_ham.backbones.names import RANDOM
from avalanche_ham.reporting.cells import mean_of
from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Place, Table
from avalanche_ham.reporting.transfer import (
    A_T,
    ACC,
    BWT,
    COLUMNS,
    MERGED,
    NOTES,
    forgetting_over_time,
    lines_of,
)
from avalanche_ham.runs.presets import preset_values
from avalanche_ham.strategies.registry import METHODS

HEADS = ("linear", "ridge")
COMPARED = (  # in the order of the paper's Tables 1 and 2
    "independent", "joint", "lora", "lora_lwf", "i_lora", "o_lora", "moe_lora", "magmax",
    "average", "pam", "continual_ties", "tall", "tall_pam",
)  # fmt: skip
EVOLVING = (
    "average", "pam", "pam_zero", "pam_lwf", "pam_er", "continual_ties", "tall", "tall_pam",
)  # fmt: skip
# merges of the whole clone, whatever a preset has found to be better
PAPER: dict[str, dict[str, Any]] = {name: {"damping": 1.0} for name in EVOLVING}
NOT_HERE = "not applicable here"
ZERO_SHOT = Line("Zero-shot", words={column.title: NOT_HERE for column in COLUMNS})
RANKS = (8, 16, 32, 64, 128)
NARROW = 32  # largest rank on the random backbone of tests, which is 48 wide
Rows = Callable[[Setup, Place], Iterable[Line]]


def _misaligned(record: Mapping[str, Any]) -> float | None:
    shares = (record["groups"] or {}).get("misaligned")
    return 100 * statistics.fmean(shares) if shares else None


def _probe(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda record: (record.get("probed") or {}).get(name)


_before, _trimmed = _probe("a_t_where_trimmed"), _probe("trimmed")


def _cost_of_trimming(record: Mapping[str, Any]) -> float | None:
    before, trimmed = _before(record), _trimmed(record)
    return None if before is None or trimmed is None else trimmed - before


BEFORE = Column("A_t from task 2 on (%)", mean_of(_before), needs=("a_t",))
TRIMMED = Column("A_t, trimmed (%)", mean_of(_trimmed), needs=("a_t",))
COST = Column("change", mean_of(_cost_of_trimming), needs=("a_t",))
LINEAR_ONLY = {column.title: "linear head only" for column in (A_T, BEFORE, TRIMMED, COST)}


def asked(rows: Sequence[Line] | Rows) -> Rows:
    """Keep the rows of the methods that were asked for, and say what only the linear head has.

    A method that has a head of its own stands beside it, or, where that head is not in the table,
    says which one it is.
    """

    def lines(setup: Setup, place: Place) -> Iterator[Line]:
        for line in rows(setup, place) if callable(rows) else rows:
            own = METHODS[line.method].head or place.head
            elsewhere = own != place.head and own in (setup.heads or ())
            if elsewhere or line.method not in (setup.methods or METHODS):
                continue
            if own != place.head:
                line = replace(line, label=f"{line.label}, {own} head")
            yield line if own == "linear" else replace(line, words={**LINEAR_ONLY, **line.words})

    return lines


def _compared(setup: Setup, place: Place) -> Iterator[Line]:
    named = [Line(LABELS.get(name, name), name) for name in setup.chosen(*COMPARED)]
    yield ZERO_SHOT
    yield from asked(named)(setup, place)


def _ranks(setup: Setup, place: Place) -> Iterator[Line]:
    backbone = setup.backbone or preset_values(setup.preset, place.benchmark)["backbone"]
    for name in ("lora", "pam"):
        for rank in RANKS:
            if rank <= NARROW or backbone not in RANDOM:
                yield _ablated(f"{LABELS[name]}, rank {rank}", name, rank=rank)


def _ablated(label: str, name: str, **options: Any) -> Line:
    """Give a row of a method as its paper has it, but for some options."""
    return Line(label, name, {**PAPER.get(name, {}), **options})


ALIGNED = (*COLUMNS, Column("misaligned entries (%)", mean_of(_misaligned), best="min"))
SHARES = Table(
    "Share of each matrix that is aligned",
    columns=ALIGNED,
    rows=[_ablated(f"{p:.0%}", "pam", align_share=p) for p in (0.3, 0.5, 0.7)],
    row_title="PAM",
    lengths=(),
)
SCHEDULES = Table(
    "When signs are aligned",
    columns=ALIGNED,
    rows=[
        _ablated("after every step", "pam", align_every=1),
        _ablated("every 10 steps", "pam", align_every=10, align_times=1),
        _ablated("every 100 steps, at least ten times a task", "pam"),
        _ablated("every 100 steps, at least three times", "pam", align_times=3),
        _ablated("every 100 steps, at least once", "pam", align_times=1),
    ],
    row_title="PAM",
    lengths=(),
)
ALIGNMENT = Table(
    "Alignment, its substitutes, and alignment without a merge",
    columns=ALIGNED,
    rows=[
        _ablated("aligned from the global LoRA, merged", "pam"),
        _ablated("aligned from zero, merged", "pam_zero"),
        _ablated("aligned, not merged", "pam", merges=False),
        *(
            _ablated(f"not aligned, pulled by {p:g} to the global LoRA, merged", "average", pull=p)
            for p in (0.001, 0.01, 0.1)
        ),
        _ablated("not aligned, merged", "average"),
        _ablated("not aligned, not merged", "average", merges=False),
    ],
    row_title="Training",
    lengths=(),
)
STARTS = Table(
    "Start of a task",
    columns=COLUMNS,
    rows=[
        _ablated(f"{LABELS[name]}, from {words}", name, start=start)
        for name in ("average", "continual_ties", "tall")
        for start, words in (("global", "the global LoRA"), ("fresh", "a fresh LoRA"))
    ],
    lengths=(),
)
TRIMMING = Table(
    "A task's own accuracy before and after TIES trims it",
    columns=[BEFORE, TRIMMED, COST, MERGED],
    rows=[_ablated(LABELS["continual_ties"], "continual_ties")],
    lengths=(),
)
TOGETHER = Table(
    "Together with LwF and replay",
    columns=COLUMNS,
    rows=[
        _ablated(LABELS[name], name)
        for name in ("lora", "pam", "lora_lwf", "pam_lwf", "lora_er", "pam_er")
    ],
    lengths=(),
)
OVER_TIME = Table(
    "Forgetting over time (%): first minus present accuracy of earlier tasks",
    columns=[
        Column(f"{share:.0%} of the tasks", mean_of(forgetting_over_time(share)), best="min")
        for share in (0.25, 0.5, 0.75, 1.0)
    ],
    rows=lines_of("lora", "magmax", "average", "pam", "continual_ties", "tall", "tall_pam"),
    lengths=(),
)
RANK = Table("Rank", columns=[ACC, BWT], rows=_ranks, lengths=())
UNDAMPED = "merged whole (damping 1)"  # as ``PAPER`` has it
ABLATIONS = (
    *(
        replace(table, title=f"{table.title}, {UNDAMPED}")
        for table in (SHARES, SCHEDULES, ALIGNMENT, STARTS, TRIMMING, RANK, TOGETHER)
    ),
    OVER_TIME,
)
PAM_TABLE = Table(
    "PAM. One evolving LoRA, aligned and merged",
    columns=COLUMNS,
    rows=_compared,
    heads=HEADS,
    also=[replace(table, rows=asked(table.rows)) for table in ABLATIONS],
    notes=[
        *NOTES,
        f"{UNDAMPED}: as in the paper, whatever the preset has found to be better, which the other "
        "blocks have",
        "misaligned: share of the entries of A and B whose sign differs between the global LoRA "
        "and the one to be merged, mean over tasks",
        "zero-shot, and the paper's sets of questions about images (CoIN and its longer version) "
        "and about videos, need a vision-language model and do not apply here; the paper's own "
        "numbers rest on one too, and so are not beside these",
    ],
)
