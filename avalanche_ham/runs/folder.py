"""A run's folder: the state to go on from, the records, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avalanche_ham.errors import HamError, StateError, StorageError
from avalanche_ham.runs.identity import difference
from avalanche_ham.runs.records import RECORDS, Record, lacks, read_records
from avalanche_ham.runs.run import Run

STATE = "state"


def has_state(out: Path) -> bool:
    """Whether a run has committed a task there."""
    return (out / STATE / "state.safetensors").exists()


def finished_records(current: Run, out: Path, *, resume: bool) -> list[Record]:
    """Give the records if this very run is finished there, none if it is to be made.

    One that was made without the probes asked for is to be made anew.

    Raises:
        HamError: if ``out`` holds a run and ``resume`` is not asked for, or something else where
            the run's files belong.
        StateError: if it holds records of another run.
    """
    place, heads = out / RECORDS, current.settings.heads
    if place.is_dir():
        raise HamError(f"out: {place} is a folder, not a file")
    if (out / STATE).exists() and not (out / STATE).is_dir():
        raise HamError(f"out: {out / STATE} is a file, not a folder")
    records = read_records(place) if place.exists() else []
    if not has_state(out) and not records:
        return []
    if not resume:
        raise HamError(f"out: {out} holds a run already; add --resume or choose another folder")
    if records and len(records) != len(heads):
        there, given = ",".join(r["head"] for r in records), ",".join(heads)
        raise StateError(f"out: {out} holds another run: head: {there} there, {given} given")
    for record, head in zip(records, heads):
        what = difference(current.identity(head), record)
        if what is not None:
            raise StateError(f"out: {out} holds another run: {what}")
    return [] if any(lacks(record, current.probes) for record in records) else records


@contextmanager
def storing(out: Path, safe: int, of: int) -> Iterator[None]:
    """Let a body write to a run's folder, or say what is safe there.

    Args:
        out: the folder.
        safe: number of tasks whose state is there already.
        of: number of all tasks.

    Raises:
        StorageError: if the body raises an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        kept = f"{safe} of {of} tasks are safe there, and --resume goes on from them"
        raise StorageError(f"out: {out} cannot be written ({why}); {kept}") from error
