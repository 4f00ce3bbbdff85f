"""Have the missing runs of a table made by the queue, and wait for them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from avalanche_ham.errors import HamError
from avalanche_ham.locks import waited_for
from avalanche_ham.runs.archive import FAILURE, Archive
from avalanche_ham.runs.cluster.job import Job
from avalanche_ham.runs.cluster.notes import JobNote, read_note, write_note
from avalanche_ham.runs.cluster.request import Request
from avalanche_ham.runs.cluster.slurm import LARGEST, LOGS, State, ask, counted, submit
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.execute import Queue
from avalanche_ham.runs.one_run import outcome

POLL = 10  # seconds between two questions to the queue
Submitted = tuple[Job, JobNote]


def execute_on_cluster(
    runs: Sequence[RunConfig],
    folder: Path,
    archive: Archive,
    *,
    resources: Resources,
    request: Request,
    keep_state: bool = False,
    detach: bool = False,
) -> list[str]:
    """Submit the runs that no job of the queue has yet, and say of each how it ended.

    Of several that do this in one folder, one submits and all wait. An interrupted wait leaves
    the jobs alone.

    Args:
        runs: not finished yet; see ``together`` for those that share their training.
        folder: of all records, seen by every node.
        archive: brought up to date here.
        resources: data, device and threads of each job.
        request: what each job asks for.
        keep_state: keep the state of finished runs, see ``make_run``.
        detach: do not wait.

    Returns:
        What went wrong, a line for each run.

    Raises:
        HamError: if the queue cannot be asked or refuses.
    """
    folder = folder.absolute()
    queue = Queue(list(runs), folder, archive, request.parallel or len(runs))
    jobs = [Job(config, queue.place(config), resources, keep_state) for config in queue.take()]
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    with waited_for(folder / LOGS, "submits jobs"):
        pending = _submit_missing(jobs, folder, request)
    if not detach:
        _wait(pending, queue)
    return queue.problems


def _submit_missing(jobs: Sequence[Job], folder: Path, request: Request) -> list[Submitted]:
    """Submit the jobs whose runs have no job that runs or waits; gives all with their notes."""
    known = [(job, note) for job in jobs if (note := read_note(job.folder))]
    states = ask({note.name for _, note in known})
    there = [(job, note) for job, note in known if _alive(note, states)]
    if there:
        _say(f"{len(there)} of the runs are in the queue already")
    taken = {job.folder for job, _ in there}
    new = [job for job in jobs if job.folder not in taken]
    for start in range(0, len(new), LARGEST):
        part = new[start : start + LARGEST]
        for job in part:  # what an earlier job left there says nothing of this one
            (job.folder / FAILURE).unlink(missing_ok=True)
        notes = submit(part, folder, request)
        for job, note in zip(part, notes):
            write_note(job.folder, job.config, note)
        _say(f"{len(part)} jobs submitted: {notes[0].id.split('_')[0]}")
        there += zip(part, notes)
    return there


def _alive(note: JobNote, states: Mapping[tuple[str, str], State]) -> bool:
    state = states.get((note.name, note.id))
    return state is not None and state.alive


def _wait(pending: list[Submitted], queue: Queue) -> None:
    """Report each run when its job has left the queue, or has left a result."""
    said, suspects = "", set[str]()
    while pending:
        time.sleep(POLL)
        try:
            states = ask({note.name for _, note in pending})
        except HamError as error:  # a controller that restarts comes back
            _say(f"{error}; waiting on")
            continue
        left: list[Submitted] = []
        ended: list[Submitted] = []
        for job, note in pending:
            done = outcome(job.folder) != ([], None)
            gone = not _alive(note, states)
            if gone and not done and note.id not in suspects:
                suspects.add(note.id)  # a shared folder may show its result a little later
                gone = False
            (ended if gone else left).append((job, note))
        pending = left
        for job, note in ended:
            _report(job, note, states, queue, [job.config for job, _ in pending])
        words = counted(states.get((note.name, note.id)) for _, note in pending)
        if pending and words != said:
            _say(words)
            said = words


def _report(
    job: Job,
    note: JobNote,
    states: Mapping[tuple[str, str], State],
    queue: Queue,
    pending: Sequence[RunConfig],
) -> None:
    records, _ = outcome(job.folder)
    state = states.get((note.name, note.id))
    word = f" with {state.word}" if state else ""
    if read_note(job.folder) == note:
        why = f"job {note.id} ended{word} and left no result, see {note.log}"
    else:  # who cancels takes the note away
        why = f"job {note.id} was cancelled"
    queue.report(job.config, 0 if records else 1, running=pending, why=why)


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M')} {words}", file=sys.stderr, flush=True)
