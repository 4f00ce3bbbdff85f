"""``ham run``: one method on one benchmark; its options follow from the method's signature."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avalanche_ham.cli import DATA_ROOT, OneLineParser, check_place
from avalanche_ham.errors import UnknownNameError, check_range

COUNTS = ("epochs", "batch_size", "eval_batch_size")


def run_method(words: list[str]) -> int:
    """Run ``ham run ...``; gives the exit code.

    Args:
        words: the command line after ``run``.

    Raises:
        HamError: for bad input, before anything is written.
    """
    args, options = _parse(words)
    from avalanche_ham.runner import Resources, RunConfig, run

    config = RunConfig(
        method=args.method,
        benchmark=args.benchmark,
        n_tasks=args.tasks,
        seed=args.seed,
        head=args.head,
        preset=args.preset,
        backbone=args.backbone,
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
    record = run(config, resources, out=args.out, resume=args.resume)
    seconds = sum(record["train_seconds"]) + sum(record["eval_seconds"])
    forgetting = "undefined" if record["fm"] is None else f"{record['fm']:.2f} %"
    print(f"{args.method}: AA {record['aa']:.2f} %  FM {forgetting}  {seconds:.0f} s")
    if args.out is not None:
        print(f"record: {args.out / 'records.jsonl'}")
    return 0


def _parse(words: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Read the command line: the common options, and those of the method and the benchmark."""
    peek = OneLineParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--method", default="ham")
    method = peek.parse_known_args(words)[0].method
    from avalanche_ham.run_config import BENCHMARK_OPTIONS
    from avalanche_ham.settings import defaults

    values = defaults(method)
    parser = _parser(values, method)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        known = [flag for action in parser._actions for flag in action.option_strings]
        raise UnknownNameError(f"option of {method}", unknown[0], known)
    given = vars(args)
    for name in (*COUNTS, "threads"):
        if given.get(name) is not None:
            check_range(name, given[name], 1, float("inf"))
    check_place("out", args.out)
    names = [*values, *BENCHMARK_OPTIONS]
    return args, {name: given[name] for name in names if name in given}


def whole(text: str) -> int:
    """Parse a whole number."""
    return _parsed(text, int, "a whole number")


def number(text: str) -> float:
    """Parse a number."""
    return _parsed(text, float, "a number")


def truth(text: str) -> bool:
    """Parse ``true`` or ``false``."""
    return _parsed(
        text.lower(), {"true": True, "false": False}.__getitem__, "true or false"
    )


def names(text: str) -> tuple[str, ...]:
    """Parse names that are separated by commas."""
    return tuple(text.split(","))


def _parsed(text: str, parse: Callable[[str], Any], allowed: str) -> Any:
    try:
        return parse(text)
    except (ValueError, KeyError) as error:
        # the one exception whose message argparse passes on, behind the option's name
        raise argparse.ArgumentTypeError(
            f"must be {allowed}, but got {text!r}"
        ) from error


COMMON: dict[str, dict[str, Any]] = {
    "method": {"default": "ham", "help": "see `ham list methods`"},
    "benchmark": {"default": "digits", "help": "see `ham list benchmarks`"},
    "tasks": {"type": whole, "default": 5, "help": "number of tasks"},
    "seed": {"type": whole, "default": 1},
    "head": {
        "default": "linear",
        "help": "who predicts: linear, ncm, ridge; or several: a,b",
    },
    "preset": {"default": "cpu", "help": "smoke, cpu or paper"},
    "backbone": {"help": "see `ham list backbones`; default: the preset's"},
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
DATA: dict[str, dict[str, Any]] = {
    "train_per_class": {"type": whole, "help": "training images of each class"},
    "test_per_class": {"type": whole, "help": "test images of each class"},
    "holdout": {"type": number, "help": "share of training images to test on instead"},
}
PARSERS: dict[str, Callable[[str], Any]] = {
    "bool": truth,
    "int": whole,
    "float": number,
    "Sequence": names,
    "tuple": names,
}


def _parser(values: dict[str, Any], method: str) -> argparse.ArgumentParser:
    from avalanche_ham.settings import ALIASES
    from avalanche_ham.strategies.registry import options_of

    parser = OneLineParser(
        prog="ham run", description="Train and evaluate one method.", allow_abbrev=False
    )
    for name, options in COMMON.items():
        parser.add_argument(_flag(name), **options)
    for name, options in DATA.items():
        parser.add_argument(_flag(name), default=argparse.SUPPRESS, **options)
    group = parser.add_argument_group(f"options of {method}")
    parameters = options_of(method)
    for name, value in values.items():
        parameter = parameters.get(ALIASES.get(name, name))
        written = (
            type(value).__name__ if parameter is None else str(parameter.annotation)
        )
        group.add_argument(
            _flag(name),
            type=_parser_of(written),
            default=argparse.SUPPRESS,
            help=f"default: {value}",
        )
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parser_of(annotation: str) -> Callable[[str], Any]:
    """Choose a parser by a signature's annotation, such as ``"float | None"``."""
    words = re.findall(r"\w+", annotation)
    parse = next((PARSERS[word] for word in words if word in PARSERS), str)
    if "None" not in words:
        return parse
    return lambda text: None if text.lower() == "none" else parse(text)
