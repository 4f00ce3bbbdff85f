"""Which runs of a table are in the queue, for its notes and to cancel them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from avalanche_ham.errors import HamError
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.cluster.notes import JOB, JobNote, read_notes
from avalanche_ham.runs.cluster.slurm import State, ask, cancel, counted
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.identity import identity_of
from avalanche_ham.runs.plan import describe

SHOWN = 12  # jobs listed


class Place(NamedTuple):
    """A run that has no result but a job; ``state`` is None where the queue knows no such job."""

    config: RunConfig
    folder: Path
    note: JobNote
    state: State | None

    @property
    def alive(self) -> bool:
        """Whether the job runs or waits."""
        return self.state is not None and self.state.alive

    @property
    def waits(self) -> bool:
        """Whether the job waits."""
        return self.state is not None and self.state.waits

    def words(self) -> str:
        """Say how it is."""
        from avalanche_ham.runs.one_run import outcome, tasks_done  # imports torch

        if self.state is None or not self.state.alive:
            error = outcome(self.folder)[1] or f"left no result, see {self.note.log}"
            ended = f" ({self.state.word})" if self.state else ""
            return f"ended{ended}, job {self.note.id}: {describe(self.config)}: {error}"
        done = f"{tasks_done(self.folder)} of {self.config.n_tasks} tasks done"
        doing = f"waiting ({self.state.reason})" if self.state.waits else "running"
        return f"{doing}, job {self.note.id}: {describe(self.config)}: {done}"


def queue_notes(runs: Iterable[RunConfig], archive: Archive, folder: Path) -> Iterator[str]:
    """Say which of some runs are running, waiting, or ended without a result.

    Nothing is asked and nothing said where no run was given to a queue.

    Args:
        runs: of a table.
        archive: what is finished and failed.
        folder: of all records.
    """
    try:
        places = _places(runs, archive, folder)
    except HamError as error:
        yield f"runs were given to a queue, which cannot be asked how they are: {error}"
        return
    if places:
        lost = sum(not place.alive for place in places)
        ended = f", {lost} ended without a result" if lost else ""
        yield f"slurm: {counted(place.state for place in places)}{ended}"
    yield from (place.words() for place in places[:SHOWN])
    if len(places) > SHOWN:
        yield f"and {len(places) - SHOWN} more jobs"


def cancel_runs(runs: Iterable[RunConfig], archive: Archive, folder: Path) -> int:
    """Cancel the jobs of some runs; gives their number. What they have finished stays.

    Raises:
        HamError: if the queue does not answer, or a job is another user's.
    """
    alive = [place for place in _places(runs, archive, folder) if place.alive]
    cancel(place.note.id for place in alive)
    for place in alive:
        (place.folder / JOB).unlink(missing_ok=True)
    return len(alive)


def _places(runs: Iterable[RunConfig], archive: Archive, folder: Path) -> list[Place]:
    """Give each run that has a job and no result, once for all heads; those that run first."""
    notes = read_notes(folder)
    found: dict[Path, tuple[RunConfig, JobNote]] = {}
    for config in runs:
        place, note = notes.get(identity_of(config).asked, (folder, None))
        if note and archive.record(config) is None and archive.failure(config) is None:
            found.setdefault(place, (config, note))
    states = ask({note.name for _, note in found.values()})
    places = [
        Place(config, place, note, states.get((note.name, note.id)))
        for place, (config, note) in found.items()
    ]
    return sorted(places, key=lambda place: (not place.alive, place.waits))
