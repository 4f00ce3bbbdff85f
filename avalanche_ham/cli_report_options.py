"""The options of ``ham table`` and ``ham figure``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from avalanche_ham.cli import DATA_ROOT, OneLineParser
from avalanche_ham.errors import OptionError, UnknownNameError, check_range

NAMES = {
    "table": ("1", "2", "3", "4", "5", "6", "7", "extra"),
    "figure": ("2", "3", "extra"),
}


def check(kind: str, args: argparse.Namespace) -> str:
    """Check what would otherwise be found wrong after hours; gives the format."""
    if args.name not in NAMES[kind]:
        raise UnknownNameError(kind, args.name, NAMES[kind])
    if args.dry_run and not args.run:
        raise OptionError("dry-run", "given together with --run", "no --run")
    check_range("jobs", args.jobs, 0, 1024)
    if args.threads is not None:
        check_range("threads", args.threads, 1, 1024)
    if kind == "figure":
        args.out = args.out or args.records / "figures"
        return "figure"
    from avalanche_ham.reporting.formats import FORMATS, SUFFIXES

    suffix = "" if args.out is None else args.out.suffix
    name = args.format or SUFFIXES.get(suffix, "markdown")
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return name


def make_parser(kind: str) -> argparse.ArgumentParser:
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


def make_setup(args: argparse.Namespace, tables: dict[str, Any]) -> Any:
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


