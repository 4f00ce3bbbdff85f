"""Notes in run folders that say which job of the queue was to make them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from avalanche_ham.files import read_regular, write_whole
from avalanche_ham.runs.config import RunConfig, resolve_config
from avalanche_ham.runs.identity import Identity, identity_entries, identity_in

JOB = "job.json"
LARGEST = 2**20  # bytes


@dataclass(frozen=True)
class JobNote:
    """Where a run stands in the queue.

    Attributes:
        name: of the submission, which no other has; ids are used again when a cluster is set up
            anew.
        id: of the job, ``123`` or ``123_4``.
        log: what the job prints.
    """

    name: str
    id: str
    log: str


def write_note(folder: Path, config: RunConfig, note: JobNote) -> None:
    """Leave a note in a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {"identity": identity_entries(resolve_config(config)), **asdict(note)}
    write_whole(folder / JOB, (json.dumps(entries, indent=2) + "\n").encode())


def read_note(folder: Path) -> JobNote | None:
    """Give a run's note, None if there is none or it is damaged."""
    found = _read(folder / JOB)
    return found[1] if found else None


def read_notes(folder: Path) -> dict[Identity, tuple[Path, JobNote]]:
    """Give all notes below a folder with the folders that they lie in, for each head of a run."""
    paths: Iterable[Path] = sorted(folder.rglob(JOB)) if folder.is_dir() else ()
    return {
        identity: (path.parent, found[1])
        for path in paths
        if (found := _read(path))
        for identity in found[0]
    }


def _read(path: Path) -> tuple[list[Identity], JobNote] | None:
    try:
        entries = json.loads(read_regular(path, limit=LARGEST))
        whose = entries.pop("identity")
        heads = whose["head"].split(",")
        return [identity_in(whose, head).asked for head in heads], JobNote(**entries)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
