"""``ham headroom``: can a comparison on this backbone and data tell methods apart?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from avalanche_ham.cli.parser import DATA_ROOT, OneLineParser, check_place
from avalanche_ham.runs.option import Option

NUMBER = Option("seeds", ("int",), (1,), "whole numbers, at least 0", several=True)


def measure_headroom(words: list[str]) -> int:
    """Make the runs that are missing and print what they say; gives the exit code."""
    args = _parser().parse_args(words)
    check_place("records", args.records)
    from avalanche_ham.reporting.headroom import headroom, headroom_runs, overview, report
    from avalanche_ham.runs.archive import read_archive
    from avalanche_ham.runs.at_hand import AtHand
    from avalanche_ham.runs.config import Resources, RunConfig, at_its_place, resolve_config
    from avalanche_ham.runs.execute import execute
    from avalanche_ham.runs.plan import make_plan, together

    if args.all:
        print(*overview(read_archive(args.records)), sep="\n")
        return 0
    names = ("benchmark", "preset", "backbone", "image_size", "weights")
    config = RunConfig(n_tasks=args.tasks, **{name: getattr(args, name) for name in names})
    resources = Resources(
        data_root=args.data_root, device=args.device, threads=args.threads, download=args.download
    )
    config, resources = at_its_place(config, resources)
    common: dict[str, Any] = {"n_tasks": args.tasks, **{n: getattr(config, n) for n in names}}
    settings = resolve_config(config)
    runs = headroom_runs(common, NUMBER.read(args.seeds))
    archive = read_archive(args.records, must_exist=False)
    plan = make_plan(runs, archive, lambda name: True, retry=True, know=AtHand(resources))
    options = {"resources": resources, "jobs": args.jobs}
    problems = execute(together(plan.missing), args.records, archive, **options)
    like: dict[str, Any] = {
        "benchmark": settings.benchmark,
        "backbone": settings.backbone,
        "image_size": settings.image_size,
        "preset": settings.preset,
    }
    found = headroom(archive, like)
    if problems or found is None:
        print(f"ham: {len(problems)} runs failed: {'; '.join(problems)}", file=sys.stderr)
        return 1
    del like["preset"]
    print(*report(found, **like), sep="\n")
    return 0


def _parser() -> OneLineParser:
    parser = OneLineParser(prog="ham headroom", description=__doc__)
    text = {
        "benchmark": "see `ham list benchmarks`, or an image folder's name below --data-root",
        "preset": "values for all that is not given",
        "backbone": "default: the preset's",
        "weights": "local weights file for the backbone",
        "data-root": "folder of the data sets",
        "device": "auto, cpu, cuda, cuda:1 ... or mps",
        "seeds": "comma-separated",
    }
    defaults = {
        "benchmark": "cifar100",
        "preset": "study",
        "data-root": DATA_ROOT,
        "device": "auto",
        "seeds": "1",
    }
    for name, words in text.items():
        parser.add_argument(f"--{name}", default=defaults.get(name), help=words)
    parser.add_argument("--image-size", type=int, help="pixels; default: the preset's")
    parser.add_argument(
        "--tasks", type=int, default=10, help="tasks whose budget joint training has"
    )
    parser.add_argument("--threads", type=int, help="torch threads of each process")
    parser.add_argument("--jobs", type=int, default=1, help="processes; 0 runs in this one")
    parser.add_argument("--download", action="store_true", help="fetch a missing data set")
    text = "only print what is on record, for every backbone and data set"
    parser.add_argument("--all", action="store_true", help=text)
    place = "folder of the runs; what is there is not made again"
    parser.add_argument("--records", type=Path, default=Path("headroom"), help=place)
    return parser
