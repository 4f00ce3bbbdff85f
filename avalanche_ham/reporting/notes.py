"""What a reader must know beside a table: what was run, on how much, and what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from operator import itemgetter

from avalanche_ham.backbones.names import RANDOM
from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting.aggregate import Summary, counting_error, rank_correlation
from avalanche_ham.reporting.cells import Cell
from avalanche_ham.reporting.headroom_in_words import warning
from avalanche_ham.reporting.layout import Sheet, fill, needs_of, runs_of, timed_runs_of
from avalanche_ham.reporting.machines import machines_of
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig, image_size_of, resolve_config
from avalanche_ham.runs.identity import identity_of
from avalanche_ham.runs.option import as_word
from avalanche_ham.runs.plan import describe, make_plan, time_taken
from avalanche_ham.runs.presets import METHOD_OVERRIDES, SAME_RATE, preset_values
from avalanche_ham.runs.records import Record
from avalanche_ham.strategies.registry import get_method

SEEN = (
    "Tiny-ImageNet: a backbone that learned from ImageNet (embedded, timm's in1k and in21k) has "
    "seen these very images and labels: the table compares methods, and is no test of learning "
    "something new"
)
NOISE = (
    "≈ may be as good as the best of its column: the 95 % interval of their difference holds 0 "
    "(paired over seeds; with one seed in common, or one difference in all, over test images, "
    "which only an AA has: in other columns nothing is marked then)"
)
MIXED = "times do not compare"  # how the note on several machines begins
SHOWN = 12  # failures listed
GRID_ON = "ViT-Ti/16 at 96 px"  # the study's
ORDERED = 4  # rows whose order says something


def fill_with_notes(sheet: Sheet[Cell], setup: Setup, archive: Archive) -> Sheet[Summary]:
    """Fill a table and put notes below it."""
    runs = list(runs_of(sheet))
    printed = any(cell.paper for cell in sheet.cells())
    slips = sheet.slips if printed else ()
    machines = tuple(_machines(sheet, archive))
    about = _about(runs, setup, archive, printed=printed)
    gaps = _gaps(runs, archive, needs_of(sheet))
    filled = fill(sheet, archive)
    noise = (NOISE,) if any(any(row.near) for b in filled.blocks for row in b.rows) else ()
    said = (*about, *sheet.notes, *machines, *noise, *_orders(filled), *slips, *gaps)
    return replace(filled, notes=said)


def _machines(sheet: Sheet[Cell], archive: Archive) -> Iterator[str]:
    """Say that times do not compare, where they were taken on several machines."""
    if len(counts := machines_of(timed_runs_of(sheet), archive)) > 1:
        words = "; ".join(f"{words}: {n}" for words, n in sorted(counts.items()))
        yield f"{MIXED}: the runs were on several machines ({words})"


def _orders(sheet: Sheet[Summary]) -> Iterator[str]:
    """Say how alike the order of a column's rows is to the order that the paper prints."""
    for block in sheet.blocks:
        for column, cells in zip(block.columns, zip(*(row.cells for row in block.rows))):
            found = [
                (cell.mean, cell.paper.mean, row.label)
                for cell, row in zip(cells, block.rows)
                if row.ranked and cell.paper and cell.mean is not None and cell.n == cell.total
            ]
            pairs = [(ours, theirs) for ours, theirs, _ in found]
            rho = rank_correlation(pairs) if column.best and len(pairs) >= ORDERED else None
            if rho is not None:
                where = ", ".join(filter(None, (block.title, column.title)))
                most = column.best == "max"
                here, there = (
                    " > ".join(row[-1] for row in sorted(found, key=itemgetter(side), reverse=most))
                    for side in (0, 1)
                )
                yield (
                    f"{where}: {len(pairs)} rows stand in the paper too; the rank correlation of "
                    f"its order with this one is {rho:.2f} (Spearman; 1: the same); best first, "
                    f"here {here}; there {there}"
                )


def _about(
    runs: list[RunConfig], setup: Setup, archive: Archive, *, printed: bool
) -> Iterator[str]:
    preset = preset_values(setup.preset, "")
    backbone = setup.backbone or preset["backbone"]
    size = setup.image_size
    if size is None:
        size = image_size_of(preset, backbone)
    first: dict[str, RunConfig] = {}
    for run in runs:
        first.setdefault(run.benchmark, run)
    yield (
        f"preset {setup.preset}, backbone {backbone}, {size} px; mean ± sample standard deviation "
        f"over seeds {', '.join(map(str, setup.seeds))} (n = {len(setup.seeds)})"
    )
    alike: dict[str, list[str]] = defaultdict(list)
    for benchmark in first:
        values = {**preset_values(setup.preset, benchmark), **setup.options}
        said = ("backbone", "image_size")
        words = ", ".join(f"{k} {v}" for k, v in values.items() if k not in said)
        alike[words].append(title_of(benchmark))
    yield from (f"{', '.join(names)}: {words}" for words, names in alike.items())
    yield from _rates(runs, setup)
    yield from _own_options(runs)
    if printed and setup.preset != "paper":
        yield (
            "not the paper's set-up (ViT-B/16, all images): its values are beside ours to "
            "compare orders and differences"
        )
    for benchmark, run in first.items():
        settings = resolve_config(run)
        keys = ("benchmark", "preset", "backbone", "image_size")
        like = {key: getattr(settings, key) for key in keys}
        doubt = warning(archive, like, settings.data.get("classes"))
        if doubt is not None:
            yield f"{title_of(benchmark)}: {doubt}"
    yield from _precision(runs, archive)
    if backbone not in RANDOM and any("tiny_imagenet" in name.split("+") for name in first):
        yield SEEN


def _rates(runs: list[RunConfig], setup: Setup) -> Iterator[str]:
    """Say which methods have learning rates of their own in the preset."""
    names: dict[float, set[str]] = defaultdict(set)
    common: dict[float, set[str]] = defaultdict(set)  # of methods whose grid is not there
    presets = {config.preset for config in runs}
    for config in runs:
        if "lr" in config.options or get_method(config.method).head:  # given, or nothing trains
            continue
        own = METHOD_OVERRIDES.get((config.preset, config.method))
        rate = preset_values(config.preset, config.benchmark, config.method)["lr"]
        if own and own.get("lr") == rate:
            whose = SAME_RATE.get(config.method) if config.preset == "study" else None
            names[rate].add(config.method if whose is None else f"{config.method} (as {whose})")
        elif own is None and config.preset == "study":
            common[rate].add(config.method)
    if names:
        words = "; ".join(f"{k:g} for {', '.join(sorted(names[k]))}" for k in sorted(names))
        grid = "of CIFAR-100, 20 tasks" + (f", {GRID_ON}" if "study" in presets else "")
        yield f"learning rate from one grid for all methods (held-out images {grid}): {words}"
    given = [each["lr"] for each in (setup.options, *setup.method_options.values()) if "lr" in each]
    if given:
        words = ", ".join(f"{rate:g}" for rate in sorted(set(given)))
        yield f"learning rate {words}: asked for here, in place of each method's own"
    for rate in sorted(common):
        words = ", ".join(sorted(common[rate]))
        yield f"learning rate {rate:g}, the preset's, not yet from the grid: {words}"


def _own_options(runs: list[RunConfig]) -> Iterator[str]:
    """Say where the preset moves another option of a method from its default."""
    moved = set()
    for config in runs:
        for name, value in METHOD_OVERRIDES.get((config.preset, config.method), {}).items():
            if name != "lr" and name not in config.options:
                moved.add(f"{config.method} {name} {as_word(value)}")
    if moved:
        words = "; ".join(sorted(moved))
        yield f"options that differ from their defaults, from the same grid: {words}"


def _precision(runs: list[RunConfig], archive: Archive) -> Iterator[str]:
    """Say how many images an accuracy rests on, and where one class a task changed the loss.

    Adapters of such tasks may do worse than nothing.
    """
    streams: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for config in runs:
        record = archive.record(config)
        if record is not None:
            streams[config.benchmark, config.n_tasks].append(record)
    for (benchmark, n), records in streams.items():
        stream = f"{title_of(benchmark)}, {n} tasks"
        images, error = counting_error(records)
        yield (
            f"{stream}: each AA rests on {images} test images; counting them has a standard error "
            f"of up to {error:.2f} points"
        )
        local = [r for r in records if r["hyperparameters"].get("scope") == "current"]
        changed = max((r["scope"].count("seen_frozen") for r in local), default=0)
        if changed:
            yield (
                f"{stream}: {changed} have one class, and so no gradient under the scope current; "
                "they were trained under seen_frozen"
            )


def _gaps(runs: list[RunConfig], archive: Archive, needs: Collection[str]) -> Iterator[str]:
    """Say what is finished, missing, stale and failed, whatever data are on this machine."""
    plan = make_plan(runs, archive, lambda name: True, needs=needs)
    done, missing = len(plan.finished), len(plan.missing)
    failed = f", {len(plan.failed)} failed" if plan.failed else ""
    taken = f" in {time_taken(plan.finished, archive, needs)}" if plan.finished else ""
    total = done + missing + len(plan.failed)
    yield f"runs: {done} of {total} finished{taken}, {missing} missing{failed}"
    found = filter(None, (archive.record(config, needs) for config in plan.finished))
    changed = sum(record["clean"] is False for record in found)
    if changed:
        yield f"changed: {changed} records were made with changes that no commit holds"
    stale = sum(map(archive.stale, {identity_of(c): c for c in runs}.values()))
    if stale:
        yield f"stale: {stale} records are of an older version of their method's numbers"
    for config in plan.failed[:SHOWN]:
        failure = archive.failure(config, needs) or {}
        yield (
            f"failed after {failure['tasks_done']} of {config.n_tasks} tasks: "
            f"{describe(config)}: {failure['error']}"
        )
    if len(plan.failed) > SHOWN:
        yield f"and {len(plan.failed) - SHOWN} more failed"
