"""A run's folder: the state to go on from, the records, and whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from avalanche_ham.errors import HamError, StateError
from avalanche_ham.runs.records import read_records

if TYPE_CHECKING:
    from avalanche_ham.runs.run import Run

STATE = "state"
RECORDS = "records.jsonl"


def has_state(out: Path) -> bool:
    """Whether a run has committed a task there."""
    return (out / STATE / "state.safetensors").exists()


def finished_records(current: Run, out: Path, *, resume: bool) -> list[dict[str, Any]]:
    """Give the records if this very run is finished there, none if it is to be made.

    Raises:
        HamError: if ``out`` holds a run and ``resume`` is not asked for.
        StateError: if it holds records of another run.
    """
    place = out / RECORDS
    records = read_records(place) if place.exists() else []
    if not has_state(out) and not records:
        return []
    if not resume:
        raise HamError(f"out: {out} holds a run already; add --resume or choose another folder")
    if records and len(records) != len(current.heads):
        there, given = ",".join(r["head"] for r in records), ",".join(current.heads)
        raise StateError(f"out: {out} holds another run: head: {there} there, {given} given")
    for record, head in zip(records, current.heads):
        what = difference(current.identity(head), record)
        if what is not None:
            raise StateError(f"out: {out} holds another run: {what}")
    return records


def difference(mine: dict[str, Any], found: dict[str, Any]) -> str | None:
    """Say how what was found differs: the first setting, or all options that do.

    Where the weights lie is no difference. A setting has its name on the command line.
    """
    for name in mine:
        given, there = mine[name], found.get(name)
        if name == "weights" or there == given:
            continue
        if name != "hyperparameters" or not isinstance(there, dict):
            shown = "tasks" if name == "n_tasks" else name
            return f"{shown}: {there} there, {given} given"
        names = {**there, **given}
        pairs = {k: (there.get(k, "none"), given.get(k, "none")) for k in names}
        words = (f"{k}: {a} there, {b} given" for k, (a, b) in pairs.items() if a != b)
        return "; ".join(words)
    return None
