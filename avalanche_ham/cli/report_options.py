"""The options of ``ham table`` and ``ham figure``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avalanche_ham.benchmarks.registry import known_name
from avalanche_ham.cli.cluster_options import OF_CLUSTER
from avalanche_ham.cli.config_file import read_tables
from avalanche_ham.cli.parser import SHARED, OneLineParser, check_place, resources_of, whole_numbers
from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.heads.registry import HEADS
from avalanche_ham.reporting.figures import FIGURES
from avalanche_ham.reporting.formats import FORMATS, SUFFIXES
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.tables import TABLES
from avalanche_ham.runs.presets import PRESETS

REPORTS: dict[str, Mapping[str, Any]] = {"table": TABLES, "figure": FIGURES}
OPTIONS: dict[str, dict[str, Any]] = {
    "run": {"action": "store_true", "help": "make the missing runs, in folders below --records"},
    "dry-run": {"action": "store_true", "help": "with --run: only list them, and the time"},
    "retry": {"action": "store_true", "help": "with --run: make failed runs again"},
    "keep-state": {"action": "store_true", "help": "keep finished runs' state, for ham export"},
    "records": {
        "type": Path,
        "required": True,
        "help": "folder; every records.jsonl below is read",
    },
    "seeds": {"default": "1,2,3", "help": "comma-separated"},
    "tasks": {"help": "lengths of the streams instead of the paper's"},
    "benchmark": {"help": "data sets instead of the paper's"},
    "methods": {"help": "only these"},
    "head": {"help": f"of {', '.join(HEADS)}: a block each"},
    "preset": {"help": f"{', '.join(PRESETS)}; default: the one with most records, or cpu"},
    **SHARED,
    **OF_CLUSTER,
    "config": {
        "help": "TOML or YAML file of these options (the command line wins), a table `options` "
        "of what all runs have, such as classes, and `methods.NAME` of what one method has"
    },
}
OF_KIND: dict[str, dict[str, dict[str, Any]]] = {
    "table": {
        "out": {
            "type": Path,
            "action": "append",
            "help": "a file; given several times, the same table in several formats",
        },
        "compare": {
            "nargs": 2,
            "metavar": ("A", "B"),
            "help": "the difference of two methods and how sure it is; instead of a name",
        },
        "format": {"help": f"{', '.join(FORMATS)}; default: by --out's suffix, or markdown"},
    },
    "figure": {"out": {"type": Path, "help": "a folder for PNG, SVG and CSV"}},
}


def make_parser(kind: str) -> argparse.ArgumentParser:
    """Make the parser of ``ham table`` or ``ham figure``."""
    parser = OneLineParser(prog=f"ham {kind}")
    parser.add_argument("name", nargs="?", help=", ".join(REPORTS[kind]))
    parser.add_options({**OPTIONS, **OF_KIND[kind]})
    return parser


def check(kind: str, args: argparse.Namespace) -> list[str]:
    """Check what would otherwise be found wrong after hours; gives the format of each output."""
    if getattr(args, "compare", None):
        if args.name or args.methods:
            raise OptionError("compare", "given without a table's name or --methods", args.name)
        args.name, args.methods = "compare", ",".join(args.compare)
    if args.name is None:
        raise OptionError(f"{kind}", "one of " + ", ".join(REPORTS[kind]), "none")
    if args.name not in REPORTS[kind]:
        raise UnknownNameError(kind, args.name, REPORTS[kind])
    for name in ("dry-run", "retry", "keep-state"):
        if getattr(args, name.replace("-", "_")) and not args.run:
            raise OptionError(name, "given together with --run", "no --run")
    args.resources = resources_of(args)
    if args.run:
        check_place("records", args.records)
    if kind == "figure":
        args.out = args.out or args.records / "figures"
        check_place("out", args.out)
        return ["figure"]
    if args.format not in (None, *FORMATS):
        raise UnknownNameError("format", args.format, FORMATS)
    for path in args.out or ():
        check_file("out", path)
    suffixes = [path.suffix for path in args.out or ()] or [""]
    return [args.format or SUFFIXES.get(suffix, "markdown") for suffix in suffixes]


def check_file(option: str, path: Path) -> None:
    """Say now that a file cannot be written."""
    if not path.exists():
        check_place(option, path.parent)
    elif path.is_dir():
        raise HamError(f"{option}: {path} is a folder, not a file")
    elif not path.is_file():
        raise HamError(f"{option}: {path} is a pipe or a device, not a file")
    elif not os.access(path, os.W_OK):
        raise HamError(f"{option}: {path} is not writable")


def make_setup(args: argparse.Namespace, tables: dict[str, Any], archive: Any) -> Any:
    """Make the ``Setup`` that the options and a config file's tables describe."""
    options, method_options = read_tables(tables)
    benchmarks = _names(args.benchmark)
    same = ("backbone", "image_size", "weights", "data_root", "download")
    return Setup(
        benchmarks=None if benchmarks is None else tuple(map(known_name, benchmarks)),
        tasks=None if args.tasks is None else whole_numbers("tasks", args.tasks),
        seeds=whole_numbers("seeds", args.seeds),
        heads=_names(args.head),
        methods=_names(args.methods),
        preset=archive.common_preset() or "cpu" if args.preset is None else args.preset,
        known=frozenset(identity.benchmark for identity in archive.records),
        records=frozenset(archive.records),
        options=options,
        method_options=method_options,
        **{name: getattr(args, name) for name in same},
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    """Split names; one that stands there twice counts once."""
    return None if text is None else tuple(dict.fromkeys(map(str.strip, text.split(","))))
