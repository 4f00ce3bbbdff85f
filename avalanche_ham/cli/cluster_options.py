"""The options of ``--cluster``: what a table's jobs ask the queue for."""

from __future__ import annotations

import argparse
from typing import Any

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.runs.cluster.request import Request

CLUSTERS = ("slurm",)
PREFIX = "--slurm-"
OF_CLUSTER: dict[str, dict[str, Any]] = {
    "cluster": {"help": "slurm: with --run, make the runs as jobs of its queue"},
    "partition": {"help": "of the jobs; default: the cluster's"},
    "time": {"help": f"of one start of a job, which then goes on; default: {Request.time}"},
    "gpus": {"help": "of each job: a number or TYPE:NUMBER"},
    "mem": {"help": "of each job, such as 16G; default: the cluster's"},
    "parallel": {"type": int, "help": "most jobs at a time"},
    "detach": {"action": "store_true", "help": "with --run: submit and do not wait"},
    "cancel": {"action": "store_true", "help": "cancel the jobs of this table's runs"},
}
OF_REQUEST = ("partition", "time", "gpus", "mem", "parallel")


def split_slurm(words: list[str]) -> tuple[list[str], dict[str, str | bool]]:
    """Take ``--slurm-KEY VALUE`` and ``--slurm-KEY=VALUE`` out of a command line.

    A key without a value, or with the value ``true``, is a switch; ``false`` leaves it out.

    Returns:
        The other words, and key -> value, or True for a switch.
    """
    left: list[str] = []
    found: dict[str, str | bool] = {}
    rest = iter(enumerate(words))
    for index, word in rest:
        if not word.startswith(PREFIX):
            left.append(word)
            continue
        key, equals, value = word.removeprefix(PREFIX).partition("=")
        following = words[index + 1 : index + 2]
        if not equals and following and not following[0].startswith("--"):
            value = next(rest)[1]
        found.pop(key, None)
        if value != "false":
            found[key] = True if value in ("", "true") else value
    return left, found


def check_cluster(args: argparse.Namespace, extra: dict[str, str | bool]) -> Request | None:
    """Give what the jobs ask for; None without ``--cluster``.

    Raises:
        HamError: if an option would have no effect, or has a value that is not allowed.
    """
    if args.cluster is None:
        asked = {name: getattr(args, name) for name in (*OF_REQUEST, "detach", "cancel")}
        for name, value in {**asked, **{f"slurm-{k}": v for k, v in extra.items()}}.items():
            if value:
                raise OptionError(name, "given together with --cluster", value)
        return None
    if args.cluster not in CLUSTERS:
        raise UnknownNameError("cluster", args.cluster, CLUSTERS)
    if args.run and args.cancel:
        raise OptionError("cancel", "given without --run", "both")
    if args.detach and not args.run:
        raise OptionError("detach", "given together with --run", "no --run")
    if args.jobs != 1:
        raise OptionError(
            "jobs", "left out with --cluster, where --parallel limits jobs", args.jobs
        )
    values = {name: getattr(args, name) for name in OF_REQUEST}
    given_values = {name: value for name, value in values.items() if value is not None}
    cpus = {} if "cpus-per-task" in extra else {"cpus": args.threads}
    return Request(**given_values, **cpus, extra=extra)
