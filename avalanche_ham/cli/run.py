"""``ham run``: one method on one benchmark; its options follow from their signatures."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avalanche_ham.benchmarks.registry import BENCHMARKS, is_there
from avalanche_ham.cli.config_file import STYLES, expand, write_config
from avalanche_ham.cli.parser import DATA_ROOT, OneLineParser, check_place, flag, tasks_named_so
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.heads.registry import HEADS, split_heads
from avalanche_ham.runs.config import TRACKERS, image_size_of, place_of
from avalanche_ham.runs.option import Option, as_word
from avalanche_ham.runs.options import benchmark_options, options_of, readout_options
from avalanche_ham.runs.presets import PRESETS, preset_values
from avalanche_ham.runs.records import seconds_of
from avalanche_ham.runs.settings import idle_options, run_settings
from avalanche_ham.strategies.registry import get_method

TEXT, WHOLE = ("str",), ("int",)
OF_RUN = (  # what identifies a run, besides the options of method and benchmark
    Option("method", TEXT, "ham", "see `ham list methods`"),
    Option("benchmark", TEXT, "digits", "see `ham list benchmarks`"),
    Option("tasks", WHOLE, 5, "number of tasks, at least 1"),
    Option("seed", WHOLE, 1, "of everything random, at least 0"),
    Option("head", TEXT, None, f"who predicts: {', '.join(HEADS)}; or several: a,b", optional=True),
    Option("preset", TEXT, "cpu", "values for all that is not given", choices=tuple(PRESETS)),
    Option("backbone", TEXT, None, "see `ham list backbones`", optional=True),
    Option("image_size", WHOLE, None, "side of the images in pixels, at least 1", optional=True),
    Option("weights", TEXT, None, "local weights file for the backbone", optional=True),
)
OF_PLACE = (
    Option("data_root", TEXT, DATA_ROOT, "folder of the data sets"),
    Option("device", TEXT, "auto", "auto, cpu, cuda, cuda:1 ... or mps"),
    Option("threads", WHOLE, None, "torch threads, at least 1 and at most 1024", optional=True),
    Option("out", TEXT, None, "folder for records.jsonl and state/", optional=True),
    Option("track", TEXT, None, "who is told how it goes", optional=True, choices=TRACKERS),
)
SWITCHES = {
    "download": "fetch a missing data set",
    "probes": "also measure the un-merged model (a_t)",
    "resume": "go on with the run in --out",
}
LETTERS = {"bool": "true|false", "int": "N", "float": "X", "str": "NAME"}


def run_method(words: list[str]) -> int:
    """Run ``ham run ...``; gives the exit code.

    Args:
        words: the command line after ``run``.

    Raises:
        HamError: for bad input, before anything is written.
    """
    args, asked = _parse(expand(words, tables=())[0])
    preset = preset_values(args["preset"], args["benchmark"], args["method"])
    values = run_settings(args["method"], args["benchmark"], _heads(args), preset, asked)
    out = None if args["out"] is None else Path(args["out"])
    if args["resume"] and out is None:
        raise OptionError("resume", "given together with --out", "no --out")
    check_place("out", out)
    if args["print_config"] is not None:
        idle = {
            *idle_options(args["method"], values.strategy),
            "print_config",
            "out",
            "resume",
            "track",
        }
        args["backbone"] = args["backbone"] or preset["backbone"]
        args["image_size"] = args["image_size"] or image_size_of(preset, args["backbone"])
        args["head"] = ",".join(_heads(args))
        shown = {**args, **values.strategy, **values.data, **values.readouts}
        print(write_config({k: v for k, v in shown.items() if k not in idle}, args["print_config"]))
        return 0
    return _run(args, asked, out)


def _run(args: Mapping[str, Any], asked: dict[str, Any], out: Path | None) -> int:
    from avalanche_ham.runs.runner import Resources, RunConfig, run_heads

    named = {option.name: args[option.name] for option in OF_RUN if option.name != "tasks"}
    config = RunConfig(n_tasks=args["tasks"], options=asked, **named)
    names = ("data_root", "device", "threads", "download", "probes", "track")
    resources = Resources(**{name: args[name] for name in names})
    own = "n_tasks" in asked  # InfLoRA has an option of that name
    with contextlib.nullcontext() if own else tasks_named_so():
        records = run_heads(config, resources, out=out, resume=args["resume"])
    for record in records:
        print(_line(record))
    if out is not None:
        print(f"record: {out / 'records.jsonl'}")
    return 0


def _line(record: Mapping[str, Any]) -> str:
    forgetting = "undefined" if record["fm"] is None else f"{record['fm']:.2f} %"
    who = f"{record['method']}, {record['head']} head"
    return f"{who}: AA {record['aa']:.2f} %  FM {forgetting}  {seconds_of(record):.0f} s"


def _parse(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the run's own options, then those of the method and the benchmark that they name."""
    common = {option.name: option for option in (*OF_RUN, *OF_PLACE)}
    peek = OneLineParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in common:
        peek.add_argument(flag(name))
    given = vars(peek.parse_known_args(words)[0])
    args = {k: option.read(given.get(k, option.default)) for k, option in common.items()}
    args["benchmark"], args["data_root"] = place_of(args["benchmark"], args["data_root"])
    method, benchmark = args["method"], args["benchmark"]
    for part in benchmark.split("+"):
        if part not in BENCHMARKS and not is_there(part, args["data_root"]):
            raise UnknownNameError("benchmark", part, BENCHMARKS)
    own = {**options_of(method), **benchmark_options(benchmark), **readout_options()}
    parser = _parser(args, _shown(args, own))
    found, unknown = parser.parse_known_args(words)
    if unknown:
        known = [word for action in parser._actions for word in action.option_strings]
        raise UnknownNameError(f"option of {method}", unknown[0].partition("=")[0], known)
    given = vars(found)
    switches = {name: given[name] for name in (*SWITCHES, "print_config")}
    if "class_order" in given:
        given["class_order"] = _listed(given["class_order"])
    asked = {name: option.read(given[name]) for name, option in own.items() if name in given}
    return {**args, **switches}, asked


def _listed(word: str) -> str:
    """Give the entries of a file, with commas between; a word that is no file stays."""
    try:
        text = Path(word).read_text(encoding="utf-8") if Path(word).is_file() else word
    except (OSError, ValueError) as error:
        raise OptionError("class_order", "entries, or a text file of them", word) from error
    return ",".join(part.strip() for part in re.split("[,\n]", text) if part.strip())


def _shown(args: Mapping[str, Any], own: Mapping[str, Option]) -> dict[str, Any]:
    """Give every default as this method, benchmark and preset really have it."""
    method, benchmark = args["method"], args["benchmark"]
    preset = preset_values(args["preset"], benchmark, method)
    heads = _heads(args)
    values = run_settings(method, benchmark, heads, preset, {})
    backbone = args["backbone"] or preset["backbone"]
    common = {option.name: option.default for option in (*OF_RUN, *OF_PLACE)}
    return {
        **common,
        "backbone": backbone,
        "image_size": image_size_of(preset, backbone),
        "head": ",".join(heads),
        **{name: option.default for name, option in own.items()},
        **values.strategy,
        **values.data,
        **values.readouts,
    }


def _heads(args: Mapping[str, Any]) -> tuple[str, ...]:
    row, asked = get_method(args["method"]), args["head"]
    if row.head is not None and asked is not None and split_heads(asked) != (row.head,):
        allowed = f"{row.head} (or left out), the one head of the method {args['method']}"
        raise OptionError("head", allowed, asked)
    return split_heads(row.head or asked or row.default_head)


def _parser(args: Mapping[str, Any], shown: Mapping[str, Any]) -> argparse.ArgumentParser:
    """Make the parser of all options, whose help tells their words and defaults."""
    text = "Train and evaluate one method."
    parser = OneLineParser(usage="ham run [options]", description=text, allow_abbrev=False)
    groups = {
        "the run": OF_RUN,
        "where it runs": OF_PLACE,
        f"options of {args['benchmark']}": benchmark_options(args["benchmark"]).values(),
        "options of closed-form heads": readout_options().values(),
        f"options of {args['method']}": options_of(args["method"]).values(),
    }
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for option in options:
            kinds = [kind for kind in option.kinds if not (option.choices and kind == "str")]
            letters = (*option.choices, *(LETTERS[kind] for kind in kinds))
            group.add_argument(
                flag(option.name),
                default=argparse.SUPPRESS,
                metavar="|".join(letters) + (",..." if option.several else ""),
                help=_help(option, shown),
            )
    for name, text in SWITCHES.items():
        parser.add_argument(flag(name), action="store_true", help=text)
    parser.add_argument("--config", metavar="FILE", help="TOML or YAML file of these options")
    text = "print all options, as a file that --config reads, and stop; default: toml"
    parser.add_argument("--print-config", nargs="?", const="toml", choices=STYLES, help=text)
    return parser


def _help(option: Option, shown: Mapping[str, Any]) -> str:
    other, owners = option.needs or ("", ())
    only = f" (with --{other} {', '.join(owners)})" if other in shown else ""
    words = re.sub("None|True|False", lambda found: found[0].lower(), option.words)
    text = f"{words}{only}; default: {as_word(shown[option.name])}"
    return text.replace("``", "").replace("%", "%%")
