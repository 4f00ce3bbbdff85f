"""All records and failures below a folder, found by a run's identity."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avalanche_ham.errors import DataError
from avalanche_ham.reporting.identity import Identity, identity_in, identity_of
from avalanche_ham.reporting.records import read_records
from avalanche_ham.run_config import RunConfig

FAILURE = "failure.json"
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
        DataError: if the folder does not exist or a line in it is no record.
    """
    archive = Archive()
    if not folder.exists() and not must_exist:
        return archive
    for record in read_records(folder):
        try:
            archive.records.setdefault(identity_in(record), record)
        except KeyError as error:
            raise DataError(
                f"records: a record below {folder} lacks {error}"
            ) from error
    for path in sorted(folder.rglob(FAILURE)) if folder.is_dir() else ():
        failure = json.loads(path.read_text())
        identity = Identity(**failure.pop("identity"))
        for head in identity.head.split(","):
            alone = identity._replace(head=head)
            if alone not in archive.records and not failure.get("bad_input"):
                archive.failures[alone] = failure
    return archive


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
