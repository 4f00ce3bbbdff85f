"""A run that kills its own process at a chosen place; started in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from avalanche_ham.runs.runner import Resources, Run, RunConfig, run
from avalanche_ham.strategies._base import ContinualStrategy

CONFIG = RunConfig(preset="smoke", n_tasks=3, head="linear,ridge", options={"rank": 4})
RESOURCES = Resources(device="cpu")
PLACES = {  # where the process dies -> number of tasks that the folder then holds
    "between tasks": 1,
    "inside a task": 1,
    "writing an adapter": 1,
    "renaming an adapter": 1,
    "writing the state": 1,
    "renaming the state": 1,
    "renaming the record": 3,
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


def install(place: str) -> None:
    """Each commit of HAM writes two files, the new adapter and the state."""
    if place == "inside a task":
        die_at_call(ContinualStrategy, "optimizer_step", 5)  # three steps a task
    elif place == "writing an adapter":
        die_at_call(os, "fsync", 3)
    elif place == "writing the state":
        die_at_call(os, "fsync", 4)
    elif place == "renaming an adapter":
        die_at_call(os, "replace", 3)
    elif place == "renaming the state":
        die_at_call(os, "replace", 4)
    elif place == "renaming the record":
        die_at_call(os, "replace", 7)


def run_and_die(place: str, out: str) -> None:
    """Start the run and die at the place."""
    torch.set_num_threads(1)
    install(place)

    def after_task(current: Run) -> None:
        if place == "between tasks":
            die()

    run(CONFIG, RESOURCES, out=Path(out), show=False, after_task=after_task)
