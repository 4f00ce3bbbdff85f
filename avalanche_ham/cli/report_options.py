"""The options of ``ham table`` and ``ham figure``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avalanche_ham.cli.config_file import read_tables
from avalanche_ham.cli.parser import DATA_ROOT, OneLineParser, check_place
from avalanche_ham.errors import HamError, OptionError, UnknownNameError, check_range
from avalanche_ham.heads.registry import HEADS
from avalanche_ham.reporting.figures import FIGURES
from avalanche_ham.reporting.formats import FORMATS, SUFFIXES
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.tables import TABLES

REPORTS: dict[str, Mapping[str, Any]] = {"table": TABLES, "figure": FIGURES}
SWITCHES = {
    "run": "make the missing runs, in folders below --records",
    "dry-run": "with --run: only list them, and the time",
    "retry": "with --run: make failed runs again",
    "keep-state": "keep finished runs' state, for ham export",
    "download": "fetch missing data sets",
}
OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "records": (
        {"type": Path, "required": True},
        "folder; every records.jsonl below is read",
    ),
    "jobs": ({"type": int, "default": 1}, "processes; 0 runs in this one"),
    "threads": ({"type": int}, "torch threads of each process"),
    "seeds": ({"default": "1,2,3"}, "comma-separated"),
    "tasks": ({}, "lengths of the streams instead of the paper's"),
    "benchmark": ({}, "data sets instead of the paper's"),
    "methods": ({}, "only these"),
    "head": ({}, f"of {', '.join(HEADS)}: a block each"),
    "preset": ({}, "smoke, cpu, study or paper; default: the one with most records, or cpu"),
    "backbone": ({}, "default: the preset's"),
    "image-size": ({"type": int}, "pixels; default: the preset's or the backbone's own"),
    "weights": ({}, "local weights file for the backbone"),
    "data-root": ({"default": DATA_ROOT}, "folder of the data sets"),
    "device": ({"default": "auto"}, "auto, cpu, cuda"),
    "config": ({}, "TOML or YAML file of these options; the command line wins"),
}


def check(kind: str, args: argparse.Namespace) -> str:
    """Check what would otherwise be found wrong after hours; gives the format."""
    if getattr(args, "compare", None):
        if args.name or args.methods:
            raise OptionError("compare", "given without a table's name or --methods", args.name)
        args.name, args.methods = "compare", ",".join(args.compare)
    if args.name is None:
        raise OptionError(f"{kind}", "one of " + ", ".join(REPORTS[kind]), "none")
    if args.name not in REPORTS[kind]:
        raise UnknownNameError(kind, args.name, REPORTS[kind])
    if args.dry_run and not args.run:
        raise OptionError("dry-run", "given together with --run", "no --run")
    check_range("jobs", args.jobs, 0, 1024)
    if args.threads is not None:
        check_range("threads", args.threads, 1, 1024)
    if args.run:
        check_place("records", args.records)
    if kind == "figure":
        args.out = args.out or args.records / "figures"
        check_place("out", args.out)
        return "figure"
    if args.out is not None:
        _check_file("out", args.out)
    suffix = "" if args.out is None else args.out.suffix
    name = args.format or SUFFIXES.get(suffix, "markdown")
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return name


def _check_file(option: str, path: Path) -> None:
    """Say now that a file cannot be written."""
    if not path.exists():
        check_place(option, path.parent)
    elif path.is_dir():
        raise HamError(f"{option}: {path} is a folder, not a file")
    elif not os.access(path, os.W_OK):
        raise HamError(f"{option}: {path} is not writable")


def make_parser(kind: str) -> argparse.ArgumentParser:
    """Make the parser of ``ham table`` or ``ham figure``."""
    parser = OneLineParser(prog=f"ham {kind}")
    parser.add_argument("name", nargs="?", help=", ".join(REPORTS[kind]))
    for name, text in SWITCHES.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    for name, (options, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", help=text, **options)
    out = "a file" if kind == "table" else "a folder for PNG, SVG and CSV"
    parser.add_argument("--out", type=Path, help=out)
    if kind == "table":
        text = "the difference of two methods and how sure it is; instead of a name"
        parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help=text)
        text = "markdown, csv or latex; default: by --out's suffix, or markdown"
        parser.add_argument("--format", help=text)
    return parser


def make_setup(args: argparse.Namespace, tables: dict[str, Any], archive: Any) -> Any:
    """Make the ``Setup`` that the options and a config file's tables describe."""
    options, method_options = read_tables(tables)
    return Setup(
        benchmarks=_names(args.benchmark),
        tasks=_numbers("tasks", args.tasks),
        seeds=_numbers("seeds", args.seeds) or (),
        heads=_names(args.head),
        methods=_names(args.methods),
        preset=args.preset or archive.common_preset() or "cpu",
        backbone=args.backbone,
        image_size=args.image_size,
        known=frozenset(identity.benchmark for identity in archive.records),
        weights=args.weights,
        options=options,
        method_options=method_options,
        data_root=args.data_root,
        download=args.download,
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    """Split names; one that stands there twice counts once."""
    if text is None:
        return None
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError as error:
        raise OptionError(option, "whole numbers, separated by commas", text) from error
