"""Tell a tracker how a run goes: accuracies, forgetting, and HAM's groups and alphas after a task.

A run has one place in its tracker, found by its identity. Whoever goes on with a killed run tells
all its tasks, so that none is missing and none stands there twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.evaluation.metrics import accuracy_so_far, forgetting_so_far
from avalanche_ham.runs.config import TRACKERS
from avalanche_ham.runs.identity import identity_in
from avalanche_ham.runs.record import square

PROJECT = "avalanche_ham"
LONGEST = 120  # letters of an id; W&B takes 128

Numbers = dict[str, float]
Tell = Callable[[int, Numbers], None]  # number of tasks done, what is known then


def check_tracker(name: str | None, out: Path | None) -> None:
    """Say before a run what would fail in it.

    Raises:
        UnknownNameError: for a name that is none of ``TRACKERS``.
        OptionError: without a folder.
        HamError: if its package is not installed.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise UnknownNameError("track", name, TRACKERS)
    if out is None:
        raise OptionError("track", "given together with --out", "no --out")
    if find_spec(name) is None:
        raise HamError(f"track: needs {name}; pip install 'avalanche-ham[{name}]'")


@contextmanager
def tracking(run: Any, out: Path | None) -> Iterator[Callable[[], None]]:
    """Open the run's place in its tracker.

    Args:
        run: a ``Run``, with what was restored; ``run.resources.track`` names the tracker.
        out: its folder, where the tracker's files lie.

    Yields:
        What tells all tasks that this call has not told yet; nothing without a tracker.
    """
    name, told = run.resources.track, 0
    if name is None or out is None:
        yield lambda: None
        return
    with (_wandb if name == "wandb" else _tensorboard)(run, out) as tell:

        def tell_news() -> None:
            nonlocal told
            history = numbers_of(run)
            for tasks, numbers in history[told:]:
                tell(tasks, numbers)
            told = len(history)

        tell_news()
        yield tell_news


def key_of(run: Any) -> str:
    """Give the run's name in a tracker: its identity, images and weights included."""
    return identity_in(run.identity()).slug[-LONGEST:]


def numbers_of(run: Any) -> list[tuple[int, Numbers]]:
    """List what is known after each task so far, in percent where it is an accuracy."""
    rows = run.measured["rows"]
    history: list[tuple[int, Numbers]] = []
    for index in range(len(run.measured["train_seconds"])):
        tasks = run.settings.n_tasks if run.settings.joint else index + 1
        numbers = {"train_seconds": run.measured["train_seconds"][index]}
        for head in run.settings.heads:
            numbers |= _accuracies(head, rows[head][: index + 1], tasks)
        history.append((tasks, numbers | _groups(run.strategy.describe(), index)))
    return history


def _accuracies(head: str, rows: list[list[float]], tasks: int) -> Numbers:
    """Give a head's accuracies of its last row, their mean, and the forgetting."""
    if not rows[-1]:  # evaluated in the end only
        return {}
    numbers = {f"{head}/accuracy/task_{j:03}": 100 * value for j, value in enumerate(rows[-1], 1)}
    matrix = square(rows, tasks)
    means = {"AA": accuracy_so_far(matrix)[-1], "FM": forgetting_so_far(matrix)[-1]}
    return numbers | {f"{head}/{k}": float(v) for k, v in means.items() if v == v}  # not NaN


def _groups(described: Any, index: int) -> Numbers:
    """Give HAM's groups after a task: which one was joined, how alike it was, and the alphas."""
    if not isinstance(described, dict) or "members" not in described:
        return {}
    *groups, own = described["alphas"][index]["end"]
    return {
        "group/joined": described["members"][index],
        "alpha/new": own,
        **{f"alpha/group_{g}": alpha for g, alpha in enumerate(groups)},
        **{f"cosine/group_{g}": c for g, c in enumerate(described["similarities"][index])},
    }


@contextmanager
def _tensorboard(run: Any, out: Path) -> Iterator[Tell]:
    """Write into ``out/tensorboard/<key>``; what an earlier process wrote there is purged."""
    from torch.utils.tensorboard import SummaryWriter

    folder = out / "tensorboard" / key_of(run)
    with SummaryWriter(str(folder), purge_step=0) as writer:

        def tell(tasks: int, numbers: Numbers) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, tasks)
            writer.flush()

        yield tell


@contextmanager
def _wandb(run: Any, out: Path) -> Iterator[Tell]:
    """Log to Weights & Biases, whose own variables (``WANDB_MODE``, ...) hold.

    Online it knows the tasks that were told; offline each process leaves a whole history.
    """
    import wandb

    key = key_of(run)
    with wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        id=key,
        name=key,
        resume="allow",
        dir=str(out),
        config=run.identity(),
    ) as there:
        known = there.step

        def tell(tasks: int, numbers: Numbers) -> None:
            if tasks >= known:
                there.log(numbers, step=tasks)

        yield tell
