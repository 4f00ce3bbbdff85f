"""Slurm's queue: submit an array of jobs, ask how they are, cancel them."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from avalanche_ham.errors import HamError
from avalanche_ham.runs.cluster.notes import JobNote
from avalanche_ham.runs.cluster.request import Request

if TYPE_CHECKING:
    from avalanche_ham.runs.cluster.job import Job

LOGS = "slurm"  # folder below that of all records
LARGEST = 1000  # jobs of an array: Slurm's own MaxArraySize, unless a cluster sets another
WARNING = 30  # seconds between SIGUSR2 and the time limit: the state is on disk by then
NO_LIMIT = 1_000_000  # of requeues: jobs count those without progress themselves
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
}  # fmt: skip


class State(NamedTuple):
    """How a job is: Slurm's word for it, and the reason why it waits."""

    word: str
    reason: str = ""

    @property
    def alive(self) -> bool:
        """Whether the job runs, waits, or will."""
        return self.word not in ENDED

    @property
    def waits(self) -> bool:
        """Whether it has not begun, or is to begin again."""
        return self.word in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "CONFIGURING", "SPECIAL_EXIT")


def submit(jobs: Sequence[Job], folder: Path, request: Request) -> list[JobNote]:
    """Submit jobs as one array; gives a note for each.

    Args:
        jobs: one to ``LARGEST``.
        folder: of all records, seen by every node.
        request: what each job asks for.

    Raises:
        HamError: if submitit or Slurm is not there, or refuses.
    """
    try:
        import submitit
    except ImportError as error:
        words = "cluster: slurm needs submitit: pip install 'avalanche-ham[slurm]'"
        raise HamError(words) from error
    name = f"ham-{secrets.token_hex(4)}"
    place, options = folder / LOGS / name, request.options()
    cpus = options.get("cpus-per-task")
    try:
        with _outside_of_jobs(), contextlib.redirect_stderr(io.StringIO()):
            executor = submitit.SlurmExecutor(place, max_num_timeout=NO_LIMIT)
            executor.update_parameters(
                job_name=name,
                time=request.minutes,
                array_parallelism=request.parallel or len(jobs),
                signal_delay_s=WARNING,
                stderr_to_stdout=True,
                srun_args=[f"--cpus-per-task={cpus}"] if cpus else [],  # else srun takes one
                additional_parameters=options,
                wckey=None,
            )
            with executor.batch():
                made = [executor.submit(job) for job in jobs]
    except (RuntimeError, submitit.core.utils.UncompletedJobError) as error:
        shutil.rmtree(place, ignore_errors=True)
        raise HamError(f"cluster: {error}") from error
    return [JobNote(name, job.job_id, str(job.paths.stdout)) for job in made]


@contextlib.contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide the job that this process may itself be in, but not where Slurm's settings are."""
    from submitit.helpers import clean_env

    settings = {k: v for k, v in os.environ.items() if k == "SLURM_CONF"}
    with clean_env():
        os.environ.update(settings)
        yield


def ask(names: Collection[str]) -> dict[tuple[str, str], State]:
    """Ask how the jobs of submissions are.

    Args:
        names: of the submissions.

    Returns:
        (name, id) -> state; what ended some minutes ago is not among them.

    Raises:
        HamError: if the queue does not answer.
    """
    if not names:
        return {}
    words = ["squeue", "--noheader", "--array", "--states=all", f"--name={','.join(sorted(names))}"]
    lines = _call(*words, "--format=%j|%i|%T|%r").splitlines()
    rows = (line.split("|", 3) for line in lines if line.count("|") >= 3)
    return {(name, number): State(word, reason) for name, number, word, reason in rows}


def counted(states: Iterable[State | None]) -> str:
    """Say how many jobs run and how many wait."""
    alive = [state for state in states if state is not None and state.alive]
    waiting = sum(state.waits for state in alive)
    return f"{len(alive) - waiting} running, {waiting} waiting"


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs.

    Raises:
        HamError: if the queue does not answer or they are another user's.
    """
    ids = list(ids)
    if ids:
        _call("scancel", *ids)


def _call(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    except FileNotFoundError as error:
        raise HamError(f"cluster: there is no {words[0]} on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise HamError(f"cluster: {words[0]} does not answer") from error
    except subprocess.CalledProcessError as error:
        raise HamError(f"cluster: {error.stderr.strip() or words[0] + ' failed'}") from error
    return done.stdout
