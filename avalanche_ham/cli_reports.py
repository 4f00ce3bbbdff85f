"""``ham table`` and ``ham figure``: read records, make what is missing, write the result."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from avalanche_ham.cli import DATA_ROOT, OneLineParser
from avalanche_ham.config_file import expand
from avalanche_ham.errors import OptionError, UnknownNameError, check_range

NAMES = {
    "table": ("1", "2", "3", "4", "5", "6", "7", "extra"),
    "figure": ("2", "3", "extra"),
}


def report(words: list[str]) -> int:
    """Run ``ham table ...`` or ``ham figure ...``; gives the exit code.

    0, or 1 if a run failed in this call.

    Args:
        words: the command line from ``table`` or ``figure`` on.

    Raises:
        HamError: for bad input, before anything runs.
    """
    kind = words[0]
    words, tables = expand(words[1:])
    args = _parser(kind).parse_args(words)
    style = _check(kind, args)
    from avalanche_ham.reporting.archive import read_archive
    from avalanche_ham.reporting.figures import FIGURES
    from avalanche_ham.reporting.tables import TABLES

    setup = _setup(args, tables)
    table = (TABLES if kind == "table" else FIGURES)[args.name](setup)
    archive = read_archive(args.records, must_exist=not args.run)
    try:
        problems = _run(table, setup, archive, args) if args.run else []
    except KeyboardInterrupt:
        print("ham: stopped; the same command goes on", file=sys.stderr)
        return 130
    if args.dry_run:
        return 0
    _write(style, table, setup, archive, args)
    if problems:
        print(
            f"ham: {len(problems)} runs failed, such as {problems[0]}", file=sys.stderr
        )
    return 1 if problems else 0


def _check(kind: str, args: argparse.Namespace) -> str:
    """Check what would otherwise be found wrong after hours; gives the format."""
    if args.name not in NAMES[kind]:
        raise UnknownNameError(kind, args.name, NAMES[kind])
    if args.dry_run and not args.run:
        raise OptionError("dry-run", "given together with --run", "no --run")
    check_range("jobs", args.jobs, 0, 1024)
    if args.threads is not None:
        check_range("threads", args.threads, 1, 1024)
    if kind == "figure":
        if args.out is None and not args.dry_run:
            raise OptionError("out", "a folder for the pictures", None)
        return "figure"
    from avalanche_ham.reporting.formats import FORMATS, SUFFIXES

    suffix = "" if args.out is None else args.out.suffix
    name = args.format or SUFFIXES.get(suffix, "markdown")
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return name


def _parser(kind: str) -> argparse.ArgumentParser:
    parser = OneLineParser(prog=f"ham {kind}", description=__doc__)
    add = parser.add_argument
    add("name", help=", ".join(NAMES[kind]))
    add(
        "--records",
        type=Path,
        required=True,
        help="folder; every records.jsonl below is read",
    )
    add(
        "--run",
        action="store_true",
        help="make the missing runs, in folders below --records",
    )
    add(
        "--dry-run",
        action="store_true",
        help="with --run: only list them, and the time",
    )
    add("--retry", action="store_true", help="with --run: make failed runs again")
    add("--jobs", type=int, default=1, help="processes; 0 runs in this one")
    add("--threads", type=int, help="torch threads of each process")
    add(
        "--keep-state",
        action="store_true",
        help="keep finished runs' state, for ham export",
    )
    add("--seeds", default="1,2,3", help="comma-separated")
    add("--tasks", help="lengths of the streams instead of the paper's")
    add("--benchmark", help="data sets instead of the paper's")
    add("--methods", help="only these")
    add("--head", help="linear, ncm, ridge: a block each")
    add("--preset", default="cpu", help="smoke, cpu or paper")
    add("--backbone", help="default: the preset's")
    add("--weights", help="local weights file for the backbone")
    add("--data-root", default=DATA_ROOT, help="folder of the data sets")
    add("--download", action="store_true", help="fetch missing data sets")
    add("--device", default="auto")
    add(
        "--out",
        type=Path,
        help="a file" if kind == "table" else "a folder for PNG, SVG and CSV",
    )
    add("--config", help="TOML or YAML file of these options, see the README")
    if kind == "table":
        add(
            "--format",
            help="markdown, csv or latex; default: by --out's suffix, or markdown",
        )
    return parser


def _setup(args: argparse.Namespace, tables: dict[str, Any]) -> Any:
    from avalanche_ham.reporting.setup import Setup

    return Setup(
        benchmarks=_names(args.benchmark),
        tasks=_numbers("tasks", args.tasks),
        seeds=_numbers("seeds", args.seeds) or (),
        heads=_names(args.head),
        methods=_names(args.methods),
        preset=args.preset,
        backbone=args.backbone,
        weights=args.weights,
        options=tables.get("options", {}),
        method_options=tables.get("methods", {}),
        data_root=args.data_root,
        download=args.download,
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(","))


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise OptionError(option, "whole numbers, separated by commas", text) from error


def _run(table: Any, setup: Any, archive: Any, args: argparse.Namespace) -> list[str]:
    """Make the missing runs, or only list them; gives what went wrong."""
    from avalanche_ham.reporting.archive import read_archive
    from avalanche_ham.reporting.execute import execute
    from avalanche_ham.reporting.plan import describe, make_plan, time_left
    from avalanche_ham.runner import Resources

    plan = make_plan(table.runs(), archive, setup, retry=args.retry)
    resources = Resources(
        data_root=args.data_root,
        device=args.device,
        threads=args.threads,
        download=args.download,
    )
    if args.device != "auto":
        resources.torch_device()  # says now if there is no such device
    lines = [describe(config) for config in plan.missing] if args.dry_run else []
    left = time_left(plan.missing, archive, jobs=args.jobs)
    lines.append(
        f"{len(plan.missing)} runs missing, {len(plan.finished)} finished; left: {left}"
    )
    if plan.without_data:
        lines.append(
            f"{len(plan.without_data)} more have no data under {args.data_root}"
        )
    print("\n".join(lines), file=sys.stdout if args.dry_run else sys.stderr)
    if args.dry_run or not plan.missing:
        return []
    problems = execute(
        plan.missing,
        args.records,
        archive,
        resources=resources,
        jobs=args.jobs,
        keep_state=args.keep_state,
    )
    found = read_archive(args.records, must_exist=False)
    archive.records, archive.failures = found.records, found.failures
    return problems


def _write(
    style: str, table: Any, setup: Any, archive: Any, args: argparse.Namespace
) -> None:
    from avalanche_ham.reporting.figures import draw
    from avalanche_ham.reporting.formats import FORMATS
    from avalanche_ham.reporting.tables import make_table

    filled = make_table(table, setup, archive)
    if style == "figure":
        print(*draw(args.name, filled, table, archive, args.out), sep="\n")
    elif args.out is None:
        print(FORMATS[style](filled), end="")
    else:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(FORMATS[style](filled))
        print(args.out)
