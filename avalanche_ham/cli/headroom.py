"""``ham headroom``: can a comparison on this backbone and data tell methods apart?"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from avalanche_ham.cli.codes import FAILED, NOT_ALL
from avalanche_ham.cli.parser import (
    SHARED,
    OneLineParser,
    check_place,
    resources_of,
    tasks_named_so,
    whole_numbers,
)
from avalanche_ham.errors import check_whole

OPTIONS: dict[str, dict[str, Any]] = {
    "benchmark": {
        "default": "cifar100",
        "help": "see `ham list benchmarks`, or an image folder's name below --data-root",
    },
    "preset": {"default": "study", "help": "values for all that is not given"},
    "tasks": {"type": int, "default": 10, "help": "tasks whose budget joint training has"},
    "classes": {"type": int, "help": "how many of the data set's, the first in its order"},
    "seeds": {"default": "1", "help": "comma-separated"},
    **SHARED,
    "all": {
        "action": "store_true",
        "help": "only print what is on record, for every backbone and data set",
    },
    "records": {
        "type": Path,
        "default": Path("headroom"),
        "help": "folder of the runs, by default headroom; what is there is not made again",
    },
}


def measure_headroom(words: list[str]) -> int:
    """Make the runs that are missing and print what they say; gives the exit code.

    Args:
        words: the command line after ``headroom``.

    Raises:
        HamError: for bad input, before anything runs.
    """
    parser = OneLineParser(prog="ham headroom", description=__doc__)
    parser.add_options(OPTIONS)
    args = parser.parse_args(words)
    check_place("records", args.records)
    args.seeds = whole_numbers("seeds", args.seeds)
    for seed in args.seeds:
        check_whole("seeds", seed, 0, 2**31)
    return _print_overview(args) if args.all else _make_and_report(args)


def _print_overview(args: Namespace) -> int:
    from avalanche_ham.reporting.headroom_in_words import overview
    from avalanche_ham.runs.archive import read_archive

    print(*overview(read_archive(args.records)), sep="\n")
    return 0


def _make_and_report(args: Namespace) -> int:
    from avalanche_ham.reporting.headroom import headroom_of, headroom_runs
    from avalanche_ham.reporting.headroom_in_words import report
    from avalanche_ham.reporting.seeds import seeds_in_words, spread_on
    from avalanche_ham.runs.archive import read_archive
    from avalanche_ham.runs.at_hand import AtHand
    from avalanche_ham.runs.check import check_runs
    from avalanche_ham.runs.config import RunConfig, at_its_place, resolve_config
    from avalanche_ham.runs.execute import execute
    from avalanche_ham.runs.plan import make_plan, together

    names = ("benchmark", "preset", "backbone", "image_size", "weights")
    given = {} if args.classes is None else {"classes": args.classes}
    config = RunConfig(
        n_tasks=args.tasks, options=given, **{name: getattr(args, name) for name in names}
    )
    config, resources = at_its_place(config, resources_of(args))
    with tasks_named_so():
        settings = resolve_config(config)
    shared = ("n_tasks", "options", *names)
    runs = headroom_runs({name: getattr(config, name) for name in shared}, args.seeds)
    archive = read_archive(args.records, must_exist=False)
    with tasks_named_so():
        plan = make_plan(runs, archive, lambda name: True, retry=True, know=AtHand(resources))
        check_runs(plan.missing)
    options = {"resources": resources, "jobs": args.jobs}
    problems = execute(together(plan.missing), args.records, archive, **options)
    made = [record for run in runs if (record := archive.record(run)) is not None]
    found = headroom_of(made) if made else None
    if problems:
        print(f"ham: {len(problems)} runs failed: {'; '.join(problems)}", file=sys.stderr)
        return FAILED
    if found is None or len(made) < len(runs):
        print("ham: not all runs are made: another process has them", file=sys.stderr)
        return NOT_ALL
    place = {name: getattr(settings, name) for name in ("benchmark", "backbone", "image_size")}
    print(*report(found, **place), sep="\n")
    spread = spread_on(archive, made[0])
    if spread is not None:
        print(seeds_in_words(spread))
    return 0
