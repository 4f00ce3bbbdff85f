"""A run that kills its own process at a chosen place; started in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from avalanche_ham.runs.runner import Resources, Run, RunConfig, run
from avalanche_ham.strategies._base import ContinualStrategy

CONFIG = RunConfig(preset="smoke", n_tasks=3, head="linear,ridge,lda_drift", options={"rank": 4})
RESOURCES = Resources(device="cpu")
# where the process dies: at which call of which function. Each commit of HAM writes two files,
# the new adapter and the state, and has the disk hold each file and then its name
PLACES: dict[str, tuple[object, str, int]] = {
    "inside a task": (ContinualStrategy, "optimizer_step", 5),  # three steps a task
    "writing an adapter": (os, "fsync", 5),
    "renaming an adapter": (os, "replace", 3),
    "writing the state": (os, "fsync", 7),
    "renaming the state": (os, "replace", 4),
    "renaming the record": (os, "replace", 7),
}


def die() -> None:
    """End at once, as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_call(module: object, name: str, count: int) -> None:
    """Let the ``count``-th call of a function be the last thing that happens."""
    real, calls = getattr(module, name), []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == count:
            die()
        return real(*args, **kwargs)

    setattr(module, name, counted)


def run_and_die(place: str, out: str) -> None:
    """Start the run and die at the place; between tasks, where it is none of ``PLACES``."""
    torch.set_num_threads(1)
    if place in PLACES:
        die_at_call(*PLACES[place])

    def after_task(current: Run) -> None:
        if place not in PLACES:
            die()

    run(CONFIG, RESOURCES, out=Path(out), show=False, after_task=after_task)


def run_and_die_at_call(config: RunConfig, name: str, count: int, out: str) -> None:
    """Start any run and die when it calls a function of ``os`` for the ``count``-th time."""
    torch.set_num_threads(1)
    die_at_call(os, name, count)
    run(config, RESOURCES, out=Path(out), show=False)
