"""What a job asks the queue for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avalanche_ham.errors import HamError, OptionError, check_range, check_whole

RESERVED = {  # keys of sbatch that submission sets, and what to say instead
    "partition": "--partition",
    "time": "--time",
    "mem": "--mem",
    "gpus": "--gpus",
    "gpus-per-node": "--gpus",
    **dict.fromkeys(
        ("array", "error", "job-name", "nodes", "no-requeue", "ntasks", "ntasks-per-node",
         "open-mode", "output", "requeue", "signal", "wrap"),
    ),
}  # fmt: skip
TIME = re.compile(
    r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d\d))?(?::(?P<third>\d\d))?", re.ASCII
)


@dataclass(frozen=True)
class Request:
    """What each job of an array asks for, in sbatch's words.

    Attributes:
        partition: None takes the cluster's default.
        time: limit of one start, after which the job is queued again and goes on: minutes,
            ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours`` or
            ``days-hours:minutes:seconds``.
        gpus: per job, a number or ``type:number``; None asks for none.
        mem: per job, megabytes or with K, M, G or T behind; None takes the cluster's default.
        parallel: most jobs of an array at a time, at least 1; None sets no limit.
        cpus: per job, at least 1; None takes the cluster's default.
        extra: any other option of sbatch; True for one without a value.
    """

    partition: str | None = None
    time: str = "4:00:00"
    gpus: str | None = None
    mem: str | None = None
    parallel: int | None = None
    cpus: int | None = None
    extra: Mapping[str, str | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            HamError: naming the option, what is allowed and what was given.
        """
        check_range("time", minutes_of(self.time), 1, 366 * 24 * 60)
        _match("gpus", self.gpus, r"([\w.-]+:)?[1-9]\d*", "a number or TYPE:NUMBER")
        _match("mem", self.mem, r"\d+[KMGT]?", "a number with K, M, G or T behind")
        if self.parallel is not None:
            check_whole("parallel", self.parallel, 1, 1_000_000)
        for key in self.extra:
            if key in RESERVED:
                other = RESERVED[key]
                raise HamError(f"slurm-{key}: " + (f"say {other}" if other else "is set by ham"))

    @property
    def minutes(self) -> int:
        """The limit of one start in minutes, rounded up."""
        return minutes_of(self.time)

    def options(self) -> dict[str, Any]:
        """Give sbatch's options beside those of arrays, signals and logs."""
        own = {
            "partition": self.partition,
            "gpus-per-node": self.gpus,
            "mem": self.mem,
            "cpus-per-task": self.cpus,
        }
        return {k: v for k, v in own.items() if v is not None} | {"requeue": True, **self.extra}


def minutes_of(time: str) -> int:
    """Read a time limit as sbatch does, in minutes, rounded up.

    Raises:
        OptionError: if it has none of sbatch's forms.
    """
    found = TIME.fullmatch(time)
    if found is None:
        raise OptionError("time", "minutes, h:mm:ss, d-h or d-h:mm:ss", time)
    days, *parts = (None if part is None else int(part) for part in found.groups())
    first, second, third = (part or 0 for part in parts)
    if days is not None or parts[2] is not None:  # days-h[:m[:s]] or h:m:s
        seconds = (((days or 0) * 24 + first) * 60 + second) * 60 + third
    else:  # m[:s]
        seconds = first * 60 + second
    return -(-seconds // 60)


def _match(option: str, given: str | None, pattern: str, allowed: str) -> None:
    if given is not None and not re.fullmatch(pattern, given, re.ASCII):
        raise OptionError(option, allowed, given)
