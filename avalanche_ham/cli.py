"""The command ``ham``: demo, run, list, export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from avalanche_ham.errors import HamError, UnknownNameError

DATA_ROOT = "~/.cache/avalanche_ham"
OWN_PARSERS = {  # commands whose options are not known before their first words are read
    "run": "one method on one benchmark",
    "table": "a table of the paper, from records; makes what is missing with --run",
    "figure": "a figure of the paper, likewise",
}


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with code 2."""

    def error(self, message: str) -> NoReturn:
        raise HamError(message)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; gives the exit code: 0, or 2 for bad input."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(words)
    except HamError as error:
        print(f"ham: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be written, a file in a folder's place
        print(f"ham: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ham: stopped; `ham demo`, or `ham run` with --resume, goes on", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    parser = OneLineParser(prog="ham", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser("demo", help="HAM against fine-tuning on digits, in a minute")
    demo.add_argument("--out", type=Path, help="folder for records.jsonl, demo.png and state")
    for name, text in OWN_PARSERS.items():
        commands.add_parser(name, help=text, add_help=False)
    listing = commands.add_parser("list", help="what there is to choose from")
    listing.add_argument("what", choices=("methods", "benchmarks", "backbones"))
    export = commands.add_parser("export", help="write a run's adapters for peft")
    export.add_argument("run", type=Path, metavar="OUT", help="folder of a run")
    export.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    export.add_argument("--what", default="merged", help="merged, groups or tasks")
    if words[:1] and words[0] in OWN_PARSERS:
        return _dispatch_own(words)
    args = parser.parse_args(words)
    if args.command == "demo":
        from avalanche_ham.demo import demo as run_demo

        run_demo(args.out)
    elif args.command == "list":
        _list(args.what)
    elif args.command == "export":
        from avalanche_ham.export import export as run_export

        for folder in run_export(args.run, args.to, kind=args.what):
            print(folder)
    else:
        parser.print_help()
    return 0


def _dispatch_own(words: list[str]) -> int:
    if words[0] == "run":
        from avalanche_ham.config_file import expand

        return _run(expand(words[1:], tables=())[0])
    from avalanche_ham.cli_reports import report

    return report(words)


def _list(what: str) -> None:
    """Print names and descriptions; needs no Avalanche and no torch."""
    if what == "methods":
        from avalanche_ham.strategies.registry import METHODS

        rows = {name: method.source for name, method in METHODS.items()}
    elif what == "benchmarks":
        from avalanche_ham.benchmarks.registry import BENCHMARKS

        rows = {name: row.summary for name, row in BENCHMARKS.items()}
    else:
        from avalanche_ham.backbones.names import BACKBONES

        rows = {**BACKBONES, "<name>": "any vision transformer of timm, with its own weights"}
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")


def _run(words: list[str]) -> int:
    peek = OneLineParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--method", default="ham")
    method = peek.parse_known_args(words)[0].method
    from avalanche_ham.settings import defaults

    options = defaults(method)
    parser = _run_parser(options, method)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        known = [a for action in parser._actions for a in action.option_strings]
        raise UnknownNameError(f"option of {method}", unknown[0], known)
    from avalanche_ham.runner import BENCHMARK_OPTIONS, Resources, RunConfig, run

    given = vars(args)
    names = [*options, *BENCHMARK_OPTIONS]
    config = RunConfig(
        method=method,
        benchmark=args.benchmark,
        n_tasks=args.tasks,
        seed=args.seed,
        head=args.head,
        preset=args.preset,
        backbone=args.backbone,
        weights=args.weights,
        options={name: given[name] for name in names if name in given},
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
    print(f"{method}: AA {record['aa']:.2f} %  FM {forgetting}  {seconds:.0f} s")
    if args.out is not None:
        print(f"record: {args.out / 'records.jsonl'}")
    return 0


def _run_parser(options: dict[str, Any], method: str) -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="ham run", description="Train and evaluate one method.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--method", default="ham", help="see `ham list methods`")
    add("--benchmark", default="digits", help="see `ham list benchmarks`")
    add("--tasks", type=int, default=5, help="number of tasks")
    add("--seed", type=int, default=1)
    add("--head", default="linear", help="who predicts: linear, ncm or ridge")
    add("--preset", default="cpu", help="smoke, cpu or paper")
    add("--backbone", help="see `ham list backbones`; default: the preset's")
    add("--weights", help="local weights file for the backbone")
    add("--data-root", default=DATA_ROOT, help="folder of the data sets")
    add("--download", action="store_true", help="fetch a missing data set")
    add("--device", default="auto")
    add("--threads", type=int)
    add("--probes", action="store_true", help="also measure the un-merged model (a_t)")
    add("--out", type=Path, help="folder for records.jsonl and state/")
    add("--config", help="TOML or YAML file of options; the command line wins over it")
    add("--resume", action="store_true", help="go on with the run in --out")
    for name in ("train_per_class", "test_per_class"):
        add(_flag(name), type=int, default=argparse.SUPPRESS, help="images of each class")
    add("--holdout", type=float, default=argparse.SUPPRESS, help="test on held-out training images")
    group = parser.add_argument_group(f"options of {method}")
    for name, value in options.items():
        kind = _parse_list if isinstance(value, tuple) else _parser_of(name, value)
        group.add_argument(
            _flag(name), type=kind, default=argparse.SUPPRESS, help=f"default: {value}"
        )
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _parser_of(name: str, default: Any) -> Any:
    """Parse a word by the type of the option's default; where that is None, by its looks."""

    def parse(text: str) -> Any:
        if isinstance(default, bool):
            if text.lower() not in ("true", "false"):
                raise _refused("true or false", text)
            return text.lower() == "true"
        if isinstance(default, str):
            return text
        if default is None and text.lower() == "none":
            return None
        for kind in (int, float) if default is None else (type(default),):
            try:
                return kind(text)
            except ValueError:
                continue
        if default is None:
            return text
        raise _refused("a whole number" if isinstance(default, int) else "a number", text)

    return parse


def _refused(allowed: str, given: str) -> argparse.ArgumentTypeError:
    """Make the one exception whose message argparse passes on, behind the option's name."""
    return argparse.ArgumentTypeError(f"must be {allowed}, but got {given!r}")
