"""What a job does: make one run, and go on with it whenever the queue starts it again."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avalanche_ham.errors import HamError
from avalanche_ham.runs.cluster.notes import JOB
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.one_run import make_run, outcome, tasks_done

PATIENCE = 300  # seconds to wait for a lock: an earlier start on a lost node may still hold it
POLL = 5
FRUITLESS = 3  # starts in a row without a finished task after which a job gives up


@dataclass
class Job:
    """A run as a job: submitit calls it at each start and ``checkpoint`` before a requeue.

    Attributes:
        config, folder, resources, keep_state: as of ``make_run``.
        begun_with: tasks finished before this start.
        fruitless: starts so far, in a row, that finished no task.
    """

    config: RunConfig
    folder: Path
    resources: Resources
    keep_state: bool = False
    begun_with: int = 0
    fruitless: int = 0

    def __call__(self) -> None:
        """Make the run, or go on with it after its last finished task; exits with 1 if it fails."""
        self.begun_with = tasks_done(self.folder)
        resources, deadline = _fitted(self.resources), time.monotonic() + PATIENCE
        while True:
            code = make_run(self.config, self.folder, resources, keep_state=self.keep_state)
            ended = code or outcome(self.folder) != ([], None)
            if ended or time.monotonic() > deadline:
                break
            time.sleep(POLL)
        if code:
            sys.exit(code)
        if ended:
            (self.folder / JOB).unlink(missing_ok=True)

    def checkpoint(self) -> Any:
        """Give what the next start does; every finished task is on disk already.

        Raises:
            HamError: if start after start has not finished a single task.
        """
        from submitit.helpers import DelayedSubmission

        fruitless = 0 if tasks_done(self.folder) > self.begun_with else self.fruitless + 1
        if fruitless >= FRUITLESS:
            raise HamError(f"time: {FRUITLESS} starts in a row ended before one task was finished")
        return DelayedSubmission(replace(self, fruitless=fruitless))


def _fitted(resources: Resources) -> Resources:
    """Take as many threads as the job has processors, unless a number was asked for."""
    given = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    if resources.threads is not None or given is None:
        return resources
    return replace(resources, threads=int(given))
