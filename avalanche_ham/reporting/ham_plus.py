"""HAM+ against every method that stores no images, and what each of its parts does and costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from avalanche_ham.benchmarks.registry import entry_of
from avalanche_ham.reporting.cells import last_of, mean_of
from avalanche_ham.reporting.compare import interval_words
from avalanche_ham.reporting.comparison import FEED_TIME, TRAINING
from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.noise import interval_over_images, interval_over_seeds
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.structure import AA, FM
from avalanche_ham.reporting.table import Column, Line, Place, Table
from avalanche_ham.strategies.registry import METHODS

HEAD = METHODS["ham_plus"].default_head
NO_MOVE = 1e9  # a penalty under which the statistics stay where they are
PLUS = Line(LABELS["ham_plus"], "ham_plus", {"head": HEAD})
AGAINST = (
    Column(f"AA minus HAM+'s under {HEAD}", mean_of("aa"), minus=PLUS),
    Column("95 % over seeds", interval_words(interval_over_seeds), minus=PLUS),
    Column("95 % over test images", interval_words(interval_over_images), minus=PLUS),
)


def _lengths(benchmark: str) -> tuple[int, ...]:
    """Give 10 tasks and, of CIFAR-100, 50 too; fewer where a task would get but one class."""
    classes = entry_of(benchmark).n_classes or 100
    return (10, 50) if benchmark == "cifar100" else (min(10, max(1, classes // 2)),)


def _methods(setup: Setup, place: Place) -> Iterator[Line]:
    """List the methods, each once, HAM and HAM+ last; ``frozen`` stands for its readouts."""
    ours = ("ham", "ham_plus")
    left_out = {*ours, *(n for n, row in METHODS.items() if row.fixed.get("regulariser") == "er")}
    rivals = (n for n, row in METHODS.items() if row.head is None and n not in left_out)
    rivals = (n for n in rivals if not Line(n, n).is_bound)
    for name in setup.chosen(*rivals, *ours):
        line = Line(LABELS.get(name, name), name)
        itself = name == "ham_plus" and place.head == HEAD
        yield replace(line, words={c.title: "" for c in AGAINST}) if itself else line


HAM_PLUS = Table(
    "HAM+ against every method that stores no images",
    columns=[AA, FM, *AGAINST],
    rows=_methods,
    benchmarks=["cifar100", "gtsrb43", "cub100"],
    lengths=_lengths,
    heads=["linear", "ncm", "ridge", "lda", HEAD],
    notes=[
        "below 0: HAM+ is ahead; over seeds: t interval of the paired differences; over test "
        "images: bootstrap within tasks; an interval without 0 is marked *",
    ],
)


def _parts(setup: Setup, place: Place) -> Iterator[Line]:
    """List HAM, each change alone, HAM+, and HAM+ with one thing changed."""
    unmoved = {"head": HEAD, f"{HEAD}_penalty": NO_MOVE}
    yield Line("HAM, linear head", "ham", {"head": "linear"})
    yield Line("HAM, static statistics", "ham", unmoved)
    for penalty in (1.0, 3.0, 10.0, 30.0):
        options = {"head": HEAD, f"{HEAD}_penalty": penalty}
        yield Line(f"drift readout alone, penalty {penalty:g}", "ham", options)
    for what, option, off in (("damping", "contrast", 0.0), ("contrast", "damping", 1.0)):
        other = {option: off}
        yield Line(f"{what} alone, linear head", "ham_plus", {"head": "linear", **other})
        yield Line(f"{what} alone, static statistics", "ham_plus", {**unmoved, **other})
        yield Line(f"HAM+ without {option}", "ham_plus", {"head": HEAD, **other})
    yield replace(PLUS, words={column.title: "" for column in AGAINST})
    for penalty in (1.0, 10.0, 30.0):
        options = {"head": HEAD, f"{HEAD}_penalty": penalty}
        yield Line(f"HAM+, penalty {penalty:g}", "ham_plus", options)
    for head in ("lda_shift", "lda_sdc", "ncm_drift"):
        yield Line(f"HAM+, {head}", "ham_plus", {"head": head})
    turned = {"head": HEAD, f"{HEAD}_views": "turned"}
    yield Line("HAM+, shown turned copies", "ham_plus", turned)
    for damping in ("sqrt", "inverse", 0.3):
        yield Line(f"HAM+, damping {damping}", "ham_plus", {"head": HEAD, "damping": damping})
    summed = {"head": HEAD, "space": "delta", "weights_rule": "one"}
    yield Line("adapters trained alone, summed", "linear", summed)
    yield Line("adapters trained alone, damped sum", "linear", {**summed, "damping": "sqrt"})


HAM_PLUS_PARTS = Table(
    "HAM+. What each part does and costs",
    columns=[
        AA,
        FM,
        *AGAINST,
        replace(TRAINING, digits=1),
        Column(
            "following the drift, s per task",
            mean_of(lambda record: sum(record["drift_seconds"]) / record["n_tasks"]),
            timed=True,
        ),
        Column(
            "feeding readouts, s per task",
            mean_of(lambda record: sum(record["feed_seconds"]) / record["n_tasks"]),
            timed=True,
        ),
        Column(
            "numbers stored, thousands",
            last_of("stored_parameters", scale=1e-3),
            digits=1,
            deviation=False,
        ),
    ],
    rows=_parts,
    row_title="What",
    lengths=_lengths,
    heads=[HEAD],
    notes=[
        "under the head of the title unless the row names another",
        "below 0: HAM+ is ahead; an interval without 0 is marked *",
        FEED_TIME,
    ],
)
