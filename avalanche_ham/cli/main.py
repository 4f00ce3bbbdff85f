"""The command ``ham``: demo, run, predict, export, table, figure, headroom, report, ..."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
import warnings
from pathlib import Path

from avalanche_ham.cli.codes import BAD_INPUT, CLOSED, FAILED, INTERRUPTED
from avalanche_ham.cli.parser import OneLineParser, check_place, flag
from avalanche_ham.errors import DivergedError, HamError, OptionError, StorageError
from avalanche_ham.process import Stopped, drop_output, lost_terminal_survived, stopping

OWN_PARSERS = {  # commands whose options are not known before their first words are read
    "run": ("run:run_method", "one method on one benchmark"),
    "predict": ("predict:predict_images", "the classes of images of one's own, by a finished run"),
    "table": (
        "reports:table",
        "a table of the paper, from records; makes what is missing with --run",
    ),
    "figure": ("reports:figure", "a figure of the paper, likewise"),
    "headroom": (
        "headroom:measure_headroom",
        "whether a comparison on a backbone and data can tell methods apart",
    ),
}


MACHINE = (  # errors of the system that are none of the input
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.EINTR, errno.EAGAIN),
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; gives the exit code, see the README's table."""
    words = sys.argv[1:] if argv is None else argv
    words = [flag(word) if word.startswith("--") else word for word in words]
    goes_on = "the same command goes on"
    if words[:1] == ["run"]:
        kept = any(word.partition("=")[0] in ("--out", "--config") for word in words)
        resumed = "the same command with --resume goes on"
        goes_on = resumed if kept else "without --out nothing is kept"

    def say() -> None:
        bar = "\n" if sys.stderr.isatty() else ""  # a line of its own, below a progress bar
        print(f"{bar}ham: stopped; {goes_on}", file=sys.stderr, flush=True)

    with lost_terminal_survived(), stopping(say) as ending:
        try:
            return _answer(words)
        except BaseException as error:
            # what a signal has cut short, such as an import, may raise nearly anything
            if ending.code is None and not isinstance(error, KeyboardInterrupt):
                raise
            say()
            return error.code if isinstance(error, Stopped) else ending.code or INTERRUPTED


def _answer(words: list[str]) -> int:
    """Run a command; expected errors become a line and a code."""
    for stream in (sys.stdout, sys.stderr):  # not every terminal has a plus-minus sign
        if hasattr(stream, "reconfigure"):  # not so in a notebook
            stream.reconfigure(errors="replace")
    # Avalanche asks for a solver that none of our methods needs
    warnings.filterwarnings("ignore", message="no QP solver found")
    try:
        try:
            code = _dispatch(words)
        except SystemExit:  # of --help
            _flush()
            raise
        _flush()
        return code
    except BrokenPipeError:  # `ham list methods | head -1`: who reads has seen enough
        drop_output(sys.stdout)
        return CLOSED  # as the shell says of a command that ends so
    except HamError as error:
        print(f"ham: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED if isinstance(error, (DivergedError, StorageError)) else BAD_INPUT
    except OSError as error:  # a folder that cannot be written, a file in a folder's place
        print(f"ham: {error}", file=sys.stderr)
        return FAILED if error.errno in MACHINE else BAD_INPUT
    except MemoryError:
        print("ham: there is not enough memory", file=sys.stderr)
        return FAILED


def _flush() -> None:
    """Hand over what is printed; a terminal that was closed meanwhile does not matter."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        drop_output(sys.stdout)
        if error.errno != errno.EIO:  # what a closed terminal answers
            raise


def _parser() -> OneLineParser:
    parser = OneLineParser(prog="ham", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser("demo", help="HAM against fine-tuning on digits, in a minute")
    demo.add_argument("--out", type=Path, help="folder for records.jsonl, demo.png and state")
    for name, (_, text) in OWN_PARSERS.items():
        commands.add_parser(name, help=text, add_help=False)
    listing = commands.add_parser("list", help="what there is to choose from")
    listing.add_argument("what", choices=("methods", "benchmarks", "backbones"))
    gather = commands.add_parser("collect", help="gather runs' records into sorted files")
    gather.add_argument("runs", type=Path, metavar="RUNS", help="folder of runs")
    gather.add_argument("--to", type=Path, required=True, metavar="RESULTS", help="a folder")
    page = commands.add_parser("report", help="all records of a folder as one page to look at")
    page.add_argument("--records", type=Path, required=True, help="folder, or one file")
    page.add_argument("--out", type=Path, required=True, metavar="FILE", help="such as report.html")
    export = commands.add_parser(
        "export", help="a run as peft adapters, or as a model for timm or ONNX"
    )
    export.add_argument("run", type=Path, metavar="OUT", help="folder of a run")
    export.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    export.add_argument("--format", default="peft", choices=("peft", "timm", "onnx"))
    export.add_argument("--head", help="timm, onnx: one of the run's heads; default: its first")
    export.add_argument("--what", default="merged", help="merged, groups or tasks")
    return parser


def _dispatch(words: list[str]) -> int:
    if words[:1] and words[0] in OWN_PARSERS:
        module, _, function = OWN_PARSERS[words[0]][0].partition(":")
        own = importlib.import_module(f"avalanche_ham.cli.{module}")
        return int(getattr(own, function)(words[1:]))
    parser = _parser()
    args = parser.parse_args(words)
    if args.command == "demo":
        check_place("out", args.out)
        from avalanche_ham.cli.demo import demo as run_demo

        run_demo(args.out)
    elif args.command == "list":
        _list(args.what)
    elif args.command == "collect":
        check_place("to", args.to)
        from avalanche_ham.runs.collect import collect

        for path in collect(args.runs, args.to):
            print(path)
    elif args.command == "report":
        from avalanche_ham.cli.report import report

        print(report(args.records, args.out))
    elif args.command == "export":
        check_place("to", args.to)
        _export(args)
    else:
        parser.print_help()
    return 0


def _export(args: argparse.Namespace) -> None:
    if args.format == "peft":
        if args.head is not None:
            raise OptionError("head", "left out with --format peft, which writes all", args.head)
        from avalanche_ham.runs.export import export

        folders = export(args.run, args.to, kind=args.what)
    else:
        if args.what != "merged":
            raise OptionError("what", f"merged with --format {args.format}", args.what)
        if args.format == "timm":
            from avalanche_ham.runs.timm_format import export_timm as write
        else:
            from avalanche_ham.runs.onnx_format import export_onnx as write
        folders = write(args.run, args.to, head=args.head)
    for folder in folders:
        print(folder)


def _list(what: str) -> None:
    """Print names and descriptions; needs no Avalanche and no torch."""
    if what == "methods":
        from avalanche_ham.strategies.registry import METHODS

        rows = {name: method.source for name, method in METHODS.items()}
    elif what == "benchmarks":
        from avalanche_ham.benchmarks.registry import BENCHMARKS

        rows = {name: row.summary for name, row in BENCHMARKS.items()}
    else:
        from avalanche_ham.backbones.names import BACKBONES, SIZES

        rows = {name: f"{text}; {SIZES[name]} px" for name, text in BACKBONES.items()}
        text = "a VisionTransformer of timm, with its own weights (docs/backbones.md)"
        rows["<name>"] = f"{text}; the size that its name ends with"
        rows["any"] = "other sizes that the patches divide: --image-size"
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:{width}}  {text}")
