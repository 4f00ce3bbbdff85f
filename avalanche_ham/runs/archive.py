"""All records and failures below a folder, found by a run's identity."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avalanche_ham.errors import DataError
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.identity import Identity, identity_in, identity_of
from avalanche_ham.runs.records import placed_records

FAILURE = "failure.json"
# what tables and figures read without asking; every run leaves it
ENTRIES = (
    "head", "benchmark", "n_tasks", "seed", "backbone", "preset", "hyperparameters", "groups",
)  # fmt: skip
LISTS = (
    "scope", "test_images", "accuracy_matrix", "train_seconds", "eval_seconds",
    "stored_parameters",
)  # fmt: skip
Record = dict[str, Any]


@dataclass
class Archive:
    """What is known about runs.

    Attributes:
        records: by identity; of several records of one run the first in path order.
        failures: by identity, for runs that failed and have no record.
    """

    records: dict[Identity, Record] = field(default_factory=dict)
    failures: dict[Identity, Record] = field(default_factory=dict)

    def record(self, config: RunConfig) -> Record | None:
        """Give the record of a run, None if it is not finished."""
        return self.records.get(identity_of(config))

    def knows(self, benchmark: str) -> bool:
        """Whether any finished run is on this benchmark."""
        return any(identity.benchmark == benchmark for identity in self.records)

    def failure(self, config: RunConfig) -> Record | None:
        """Give what is known of a run that failed: ``error`` and ``tasks_done``."""
        return self.failures.get(identity_of(config))


def read_archive(folder: Path, *, must_exist: bool = True) -> Archive:
    """Read every ``records.jsonl`` and ``failure.json`` below a folder.

    Args:
        folder: of any layout.
        must_exist: False takes a folder that is not there as an empty one.

    Raises:
        DataError: if the folder does not exist or a line in it is no whole record.
    """
    archive = Archive()
    if not folder.exists() and not must_exist:
        return archive
    for place, record in placed_records(folder):
        archive.records.setdefault(_checked_identity(record, place), record)
    for path in sorted(folder.rglob(FAILURE)) if folder.is_dir() else ():
        try:
            failures = _read_failure(path)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            words = f"{path} is no note of a failed run; it is left out"
            warnings.warn(words, stacklevel=2)
            continue
        for identity, failure in failures.items():
            if identity not in archive.records:
                archive.failures[identity] = failure
    return archive


def _checked_identity(record: Record, place: str) -> Identity:
    lacking = [key for key in ENTRIES if key not in record]
    lists = {k for k in LISTS if isinstance(record.get(k), list) and record[k]}
    lacking += [key for key in LISTS if key not in lists]
    if lacking:
        raise DataError(f"records: {place} lacks {', '.join(lacking)}")
    try:
        identity = identity_in(record)
        hash(identity)
    except TypeError as error:
        raise DataError(f"records: {place} is not a record") from error
    return identity


def _read_failure(path: Path) -> dict[Identity, Record]:
    """Read a note of failure, for each head of the run."""
    failure = json.loads(path.read_bytes())
    identity = Identity(**failure.pop("identity"))
    if failure.get("bad_input"):
        return {}
    note = {"error": failure["error"], "tasks_done": failure["tasks_done"]}
    note["traceback"] = failure.get("traceback", "")
    return {identity._replace(head=head): note for head in identity.head.split(",")}


def write_failure(
    folder: Path,
    config: RunConfig,
    *,
    error: str,
    tasks_done: int,
    bad_input: bool = False,
    traceback: str = "",
) -> None:
    """Note in a run's folder why it failed and after how many tasks.

    Args:
        folder: the run's.
        config: the run.
        error: one line.
        tasks_done: number of tasks that it finished.
        bad_input: it never began; the archive does not count it as failed.
        traceback: where it failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = {
        "identity": identity_of(config)._asdict(),
        "error": error,
        "tasks_done": tasks_done,
        "bad_input": bad_input,
        "traceback": traceback,
    }
    partial = folder / (FAILURE + ".partial")
    partial.write_text(json.dumps(note, indent=2) + "\n")
    os.replace(partial, folder / FAILURE)
