"""A run's folder: the state to go on from, the records, and whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from avalanche_ham.errors import HamError, StateError
from avalanche_ham.reporting.records import read_records

if TYPE_CHECKING:
    from avalanche_ham.runner import Run

STATE = "state"
RECORDS = "records.jsonl"


def has_state(out: Path) -> bool:
    """Whether a run has committed a task there."""
    return (out / STATE / "state.safetensors").exists()


def finished_record(current: Run, out: Path, *, resume: bool) -> dict[str, Any] | None:
    """Give the (first) record if this very run is finished there, None if it is to be made.

    Raises:
        HamError: if ``out`` is a file, or holds a run and ``resume`` is not asked for.
        StateError: if it holds records of another run.
    """
    if out.exists() and not out.is_dir():
        raise HamError(f"out: {out} is a file, not a folder")
    place = out / RECORDS
    records = read_records(place) if place.exists() else []
    if not has_state(out) and not records:
        return None
    if not resume:
        raise HamError(
            f"out: {out} holds a run already; add --resume or choose another folder"
        )
    if records and len(records) != len(current.heads):
        raise StateError(f"out: {out} holds another run: head differs")
    for record, head in zip(records, current.heads):
        mine = current.identity(head)
        differing = [k for k, v in mine.items() if record.get(k) != v]
        if differing:
            raise StateError(f"out: {out} holds another run: {differing[0]} differs")
    return records[0] if records else None
