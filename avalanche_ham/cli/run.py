"""``ham run``: one method on one benchmark; its options follow from the method's signature."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from avalanche_ham.cli.main import DATA_ROOT, OneLineParser, check_place
from avalanche_ham.cli.values import DATA_PARSERS, option_parsers, whole
from avalanche_ham.errors import OptionError, UnknownNameError, check_range

COUNTS = ("epochs", "batch_size", "eval_batch_size")


def run_method(words: list[str]) -> int:
    """Run ``ham run ...``; gives the exit code.

    Args:
        words: the command line after ``run``.

    Raises:
        HamError: for bad input, before anything is written.
    """
    args, options = _parse(words)
    from avalanche_ham.runs.runner import Resources, RunConfig, run_heads

    config = RunConfig(
        method=args.method,
        benchmark=args.benchmark,
        n_tasks=args.tasks,
        seed=args.seed,
        head=args.head,
        preset=args.preset,
        backbone=args.backbone,
        image_size=args.image_size,
        weights=args.weights,
        options=options,
    )
    resources = Resources(
        data_root=args.data_root,
        device=args.device,
        threads=args.threads,
        download=args.download,
        probes=args.probes,
    )
    try:
        records = run_heads(config, resources, out=args.out, resume=args.resume)
    except OptionError as error:
        if error.option != "n_tasks" or "n_tasks" in options:  # InfLoRA has one of that name
            raise
        raise OptionError("tasks", error.allowed, error.given) from error
    for record in records:
        print(_line(record))
    if args.out is not None:
        print(f"record: {args.out / 'records.jsonl'}")
    return 0


def _line(record: dict[str, Any]) -> str:
    seconds = sum(record["train_seconds"]) + sum(record["eval_seconds"])
    forgetting = "undefined" if record["fm"] is None else f"{record['fm']:.2f} %"
    who = f"{record['method']}, {record['head']} head"
    return f"{who}: AA {record['aa']:.2f} %  FM {forgetting}  {seconds:.0f} s"


def _parse(words: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Read the command line: the common options, and those of the method and the benchmark."""
    peek = OneLineParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--method", default="ham")
    method = peek.parse_known_args(words)[0].method
    from avalanche_ham.runs.settings import defaults

    values = defaults(method)
    parser = _parser(values, method)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        known = [flag for action in parser._actions for flag in action.option_strings]
        raise UnknownNameError(f"option of {method}", unknown[0], known)
    given = vars(args)
    for name in COUNTS:
        if given.get(name) is not None:
            check_range(name, given[name], 1, float("inf"))
    if args.resume and args.out is None:
        raise OptionError("resume", "given together with --out", "no --out")
    check_place("out", args.out)
    names = [*values, *DATA_PARSERS]
    return args, {name: given[name] for name in names if name in given}


COMMON: dict[str, dict[str, Any]] = {
    "method": {"default": "ham", "help": "see `ham list methods`"},
    "benchmark": {"default": "digits", "help": "see `ham list benchmarks`"},
    "tasks": {"type": whole, "default": 5, "help": "number of tasks"},
    "seed": {"type": whole, "default": 1},
    "head": {
        "help": "who predicts: linear, ncm, ridge; or several: a,b; default: the method's",
    },
    "preset": {"default": "cpu", "help": "smoke, cpu or paper"},
    "backbone": {"help": "see `ham list backbones`; default: the preset's"},
    "image_size": {"type": whole, "help": "pixels; default: the preset's or the backbone's own"},
    "weights": {"help": "local weights file for the backbone"},
    "data_root": {"default": DATA_ROOT, "help": "folder of the data sets"},
    "download": {"action": "store_true", "help": "fetch a missing data set"},
    "device": {"default": "auto"},
    "threads": {"type": whole, "help": "torch threads"},
    "probes": {
        "action": "store_true",
        "help": "also measure the un-merged model (a_t)",
    },
    "out": {"type": Path, "help": "folder for records.jsonl and state/"},
    "config": {"help": "TOML or YAML file of options; the command line wins over it"},
    "resume": {"action": "store_true", "help": "go on with the run in --out"},
}
DATA = {
    "train_per_class": "training images of each class; none for all",
    "test_per_class": "test images of each class; none for all",
    "holdout": "share of training images to test on instead",
}


def _parser(values: dict[str, Any], method: str) -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="ham run", description="Train and evaluate one method.", allow_abbrev=False
    )
    for name, options in COMMON.items():
        parser.add_argument(_flag(name), **options)
    unset = argparse.SUPPRESS
    for name, text in DATA.items():
        parser.add_argument(_flag(name), type=DATA_PARSERS[name], default=unset, help=text)
    group = parser.add_argument_group(f"options of {method}")
    for name, parse in option_parsers(method).items():
        text = f"default: {values[name]}"
        group.add_argument(_flag(name), type=parse, default=unset, help=text)
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
