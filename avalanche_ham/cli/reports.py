"""``ham table`` and ``ham figure``: read records, make what is missing, write the result."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from avalanche_ham.benchmarks.registry import entry_of
from avalanche_ham.cli.cluster_options import check_cluster, split_slurm
from avalanche_ham.cli.codes import FAILED, NOT_ALL
from avalanche_ham.cli.config_file import expand
from avalanche_ham.cli.report_options import REPORTS, check, make_parser, make_setup
from avalanche_ham.errors import OptionError
from avalanche_ham.files import write_whole
from avalanche_ham.reporting.figures import draw
from avalanche_ham.reporting.formats import FORMATS
from avalanche_ham.reporting.layout import lay_out, needs_of, runs_of
from avalanche_ham.reporting.notes import fill_with_notes
from avalanche_ham.runs.archive import check_one_origin, read_archive
from avalanche_ham.runs.cluster.overview import cancel_runs, queue_notes
from avalanche_ham.runs.plan import describe, make_plan, time_left, together


def table(words: list[str]) -> int:
    """Run ``ham table ...``; gives the exit code.

    It is 0, with ``--run`` also 1 if a run failed in this call, else 3 if not all runs are made.

    Args:
        words: the command line after ``table``.

    Raises:
        HamError: for bad input, before anything runs.
    """
    return _report("table", words)


def figure(words: list[str]) -> int:
    """Run ``ham figure ...``, as ``table`` does."""
    return _report("figure", words)


def _report(kind: str, words: list[str]) -> int:
    words, tables = expand(words)
    words, slurm = split_slurm(words)
    args = make_parser(kind).parse_args(words)
    styles = check(kind, args)
    args.request = check_cluster(args, slurm)
    archive = read_archive(args.records, must_exist=not args.run)
    setup = make_setup(args, tables, archive)
    sheet = lay_out(REPORTS[kind][args.name], setup)
    _check_runs(sheet, setup, archive)
    if args.cancel:
        print(f"{cancel_runs(runs_of(sheet), archive, args.records)} jobs cancelled")
        return 0
    try:
        problems, left = _run(sheet, setup, archive, args) if args.run else ([], "")
    except KeyboardInterrupt:
        if args.cluster:
            print("ham: the jobs go on until --cancel", file=sys.stderr)
        raise
    if args.dry_run:
        return 0
    _write(styles, sheet, setup, archive, args)
    if problems:
        print(f"ham: {len(problems)} runs failed, such as {problems[0]}", file=sys.stderr)
    if left:
        print(f"ham: not all runs are made: {left}", file=sys.stderr)
    return FAILED if problems else NOT_ALL if left else 0


def _run(sheet: Any, setup: Any, archive: Any, args: argparse.Namespace) -> tuple[list[str], str]:
    """Make the missing runs, or only list them; gives what went wrong, and what is left."""
    from avalanche_ham.runs.at_hand import AtHand
    from avalanche_ham.runs.check import check_runs
    from avalanche_ham.runs.cluster.execute import execute_on_cluster
    from avalanche_ham.runs.execute import execute
    from avalanche_ham.runs.one_run import tidy_after_kill

    at_hand = AtHand(args.resources)
    needs = needs_of(sheet)
    plan = make_plan(
        runs_of(sheet), archive, setup.has_data, retry=args.retry, know=at_hand, needs=needs
    )
    check_runs((*plan.missing, *plan.without_data))
    _announce(plan, archive, args)
    for config in () if args.dry_run else plan.finished:
        place = args.records / archive.identity(config).slug
        tidy_after_kill(place, keep_state=args.keep_state)
    if args.dry_run or not plan.missing:
        return [], "" if args.dry_run else _left(plan, archive, args.request, 0)
    resources = replace(args.resources, probes=args.resources.probes or bool(needs))
    options: dict[str, Any] = {"resources": resources, "keep_state": args.keep_state}
    what = together(plan.missing), args.records, archive
    if args.request is None:
        problems = execute(*what, **options, jobs=args.jobs)
    else:
        options |= {"request": args.request, "detach": args.detach}
        problems = execute_on_cluster(*what, **options)
    found = read_archive(args.records, must_exist=False)
    archive.records, archive.failures = found.records, found.failures
    return problems, _left(plan, archive, args.request, len(problems))


def _left(plan: Any, archive: Any, request: Any, failed: int) -> str:
    """Say how many of the planned runs have no record, and why; nothing if all have one."""
    unmade = [config for config in plan.missing if not archive.record(config)]
    elsewhere = "with another process" if request is None else "in the queue"
    counts = {
        f"are {elsewhere}": 0 if failed else len(unmade),
        "have no data": len(plan.without_data),
        "failed before (--retry makes them again)": len(plan.failed),
    }
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def _check_runs(sheet: Any, setup: Any, archive: Any) -> None:
    """Say now what every run would find by itself; a backbone that has records is known."""
    names = {record["backbone"] for record in archive.all_records()}
    if setup.backbone is not None and setup.backbone not in names:
        from avalanche_ham.backbones.vit import check_backbone  # timm takes seconds

        check_backbone(setup.backbone, pretrained=setup.weights is None)
    for config in runs_of(sheet):
        classes = entry_of(config.benchmark).n_classes
        if classes is not None and config.n_tasks > classes:
            allowed = f"at most {classes} on {config.benchmark}, its number of classes"
            raise OptionError("tasks", allowed, config.n_tasks)


def _announce(plan: Any, archive: Any, args: argparse.Namespace) -> None:
    """Say what is missing and how long it will take; a dry run also lists it."""
    trainings = together(plan.missing)
    lines = [describe(config) for config in trainings] if args.dry_run else []
    left = time_left(trainings, archive, jobs=args.jobs)
    counts = f"{len(plan.missing)} runs missing, {len(plan.finished)} finished"
    if len(trainings) < len(plan.missing):
        counts += f", {len(trainings)} trainings as heads share them"
    lines.append(f"{counts}; left: {left}")
    if plan.failed:
        lines.append(f"{len(plan.failed)} have failed; --retry makes them again")
    if plan.without_data:
        lines.append(f"{len(plan.without_data)} more have no data under {args.data_root}")
    print("\n".join(lines), file=sys.stdout if args.dry_run else sys.stderr)


def _write(
    styles: list[str], sheet: Any, setup: Any, archive: Any, args: argparse.Namespace
) -> None:
    check_one_origin(runs_of(sheet), archive)
    filled = fill_with_notes(sheet, setup, archive)
    queued = queue_notes(runs_of(sheet), archive, args.records)
    filled = replace(filled, notes=(*filled.notes, *queued))
    if styles == ["figure"]:
        print(*draw(args.name, filled, sheet, archive, args.out), sep="\n")
    elif args.out is None:
        print(FORMATS[styles[0]](filled), end="")
    else:
        for style, path in zip(styles, args.out, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, FORMATS[style](filled).encode())
            print(path)
