"""The tables by number, and a table with everything a reader must know beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting.ablations import table_6, table_7, table_extra
from avalanche_ham.reporting.aggregate import sampling_error
from avalanche_ham.reporting.compare import table_compare
from avalanche_ham.reporting.comparison import table_1, table_2
from avalanche_ham.reporting.headroom import final, warning
from avalanche_ham.reporting.overview import table_methods
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.structure import table_3, table_4, table_5
from avalanche_ham.reporting.table import FilledTable, Table, fill
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import resolve_config
from avalanche_ham.runs.identity import identity_of
from avalanche_ham.runs.plan import describe, make_plan, time_taken
from avalanche_ham.runs.presets import METHOD_OVERRIDES, preset_values
from avalanche_ham.runs.records import Record

TABLES: dict[str, Callable[[Setup], Table]] = {
    "1": table_1,
    "2": table_2,
    "3": table_3,
    "4": table_4,
    "5": table_5,
    "6": table_6,
    "7": table_7,
    "extra": table_extra,
    "methods": table_methods,
    "compare": table_compare,
}

SEEN = (
    "Tiny-ImageNet: the embedded backbone saw these very images and labels in pre-training, "
    "as the paper's backbone saw these classes: no test of learning something new"
)
NOISE = (
    "≈ may be as good as the best of its column: the 95 % interval of their difference holds 0 "
    "(paired over seeds; with one seed in common, over its test images)"
)
SHOWN = 12  # failures listed


def make_table(table: Table, setup: Setup, archive: Archive) -> FilledTable:
    """Fill a table and put notes below it: what was run, on how much, and what is missing."""
    filled = fill(table, archive)
    cells = [cell for block in filled.blocks for row in block.rows for cell in row.cells]
    slips = table.slips if any(cell.paper for cell in cells) else ()
    about, gaps = _about(table, setup, archive), _gaps(table, setup, archive)
    marked = any(near for block in filled.blocks for row in block.rows for near in row.near)
    noise = (NOISE,) if marked else ()
    return replace(filled, notes=(*about, *table.notes, *noise, *slips, *gaps))


def _about(table: Table, setup: Setup, archive: Archive) -> Iterator[str]:
    seeds = ", ".join(map(str, setup.seeds))
    backbone = setup.backbone or preset_values(setup.preset, "")["backbone"]
    yield (
        f"preset {setup.preset}, backbone {backbone}; mean ± sample standard deviation over "
        f"seeds {seeds} (n = {len(setup.seeds)})"
    )
    alike: dict[str, list[str]] = {}
    for benchmark in dict.fromkeys(config.benchmark for config in table.runs()):
        values = {**preset_values(setup.preset, benchmark), **setup.options}
        words = ", ".join(f"{k} {v}" for k, v in values.items() if k != "backbone")
        alike.setdefault(words, []).append(title_of(benchmark))
    yield from (f"{', '.join(names)}: {words}" for words, names in alike.items())
    yield from _rates(table)
    if setup.preset != "paper":
        yield (
            "not the paper's set-up (ViT-B/16, all images): its values are beside ours to "
            "compare orders and differences"
        )
    yield from _headroom(setup, table, archive)
    for (benchmark, n), records in _by_length(table, archive).items():
        for words in (_precision(records), _single_classes(records)):
            if words:
                yield f"{title_of(benchmark)}, {n} tasks: {words}"
    if backbone == "embedded" and any(c.benchmark == "tiny_imagenet" for c in table.runs()):
        yield SEEN


def _headroom(setup: Setup, table: Table, archive: Archive) -> Iterator[str]:
    """Warn where frozen features and joint training leave methods nothing to differ by."""
    for benchmark in dict.fromkeys(config.benchmark for config in table.runs()):
        config = next(c for c in table.runs() if c.benchmark == benchmark)
        settings = resolve_config(config)
        keys = ("benchmark", "preset", "backbone", "image_size")
        words = warning(archive, {key: getattr(settings, key) for key in keys})
        if words is not None:
            yield f"{title_of(benchmark)}: {words}"


def _rates(table: Table) -> Iterator[str]:
    """Say which methods have learning rates of their own in the preset."""
    names: dict[float, set[str]] = {}
    for config in table.runs():
        own = METHOD_OVERRIDES.get((config.preset, config.method), {})
        values = preset_values(config.preset, config.benchmark, config.method)
        if own.get("lr") == values.get("lr") and "lr" in own.keys() - config.options:
            names.setdefault(own["lr"], set()).add(config.method)
    if names:
        words = "; ".join(f"{k:g} for {', '.join(sorted(names[k]))}" for k in sorted(names))
        yield f"learning rate from one grid for all methods (held-out images): {words}"


def _by_length(table: Table, archive: Archive) -> dict[tuple[str, int], list[Record]]:
    """Gather a table's records by data set and number of tasks."""
    found: dict[tuple[str, int], list[Record]] = {}
    for config in table.runs():
        record = archive.record(config)
        if record is not None:
            found.setdefault((config.benchmark, config.n_tasks), []).append(record)
    return found


def _precision(records: list[Record]) -> str:
    """Say how many test images an accuracy rests on."""
    images = max(sum(r["test_images"]) for r in records)
    error = max(sampling_error(final(r), r["test_images"]) for r in records)
    return (
        f"each AA rests on {images} test images; counting them has a standard error of up to "
        f"{error:.2f} points"
    )


def _single_classes(records: list[Record]) -> str:
    """Say where tasks of one class changed the loss: adapters may then do worse than nothing."""
    local = [r for r in records if r["hyperparameters"].get("scope") == "current"]
    changed = max((r["scope"].count("seen_frozen") for r in local), default=0)
    if not changed:
        return ""
    return (
        f"{changed} have one class, and so no gradient under the scope current; they were "
        "trained under seen_frozen"
    )


def _gaps(table: Table, setup: Setup, archive: Archive) -> Iterator[str]:
    plan = make_plan(table.runs(), archive, lambda name: True)
    total = sum(map(len, (plan.finished, plan.failed, plan.missing, plan.without_data)))
    missing = len(plan.missing) + len(plan.without_data)
    failed = f", {len(plan.failed)} failed" if plan.failed else ""
    taken = f" in {time_taken(plan.finished, archive)}" if plan.finished else ""
    yield f"runs: {len(plan.finished)} of {total} finished{taken}, {missing} missing{failed}"
    stale = sum(map(archive.stale, {identity_of(c): c for c in table.runs()}.values()))
    if stale:
        yield f"stale: {stale} records are of an older version of their method's numbers"
    if plan.without_data:
        names = dict.fromkeys(title_of(config.benchmark) for config in plan.without_data)
        yield f"not under the data root: {', '.join(names)} ({len(plan.without_data)} runs)"
    for config in plan.failed[:SHOWN]:
        failure = archive.failure(config) or {}
        yield (
            f"failed after {failure['tasks_done']} of {config.n_tasks} tasks: "
            f"{describe(config)}: {failure['error']}"
        )
    if len(plan.failed) > SHOWN:
        yield f"and {len(plan.failed) - SHOWN} more failed"
