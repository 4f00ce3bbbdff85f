"""All records and failures below a folder, found by what a table can ask for."""

from __future__ import annotations

import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avalanche_ham.errors import DataError
from avalanche_ham.files import read_regular, write_whole
from avalanche_ham.runs.config import RunConfig, resolve_config
from avalanche_ham.runs.identity import (
    Digests,
    Identity,
    identity_entries,
    identity_in,
    identity_of,
)
from avalanche_ham.runs.options import benchmark_options
from avalanche_ham.runs.records import Record, files_below, lacks, placed_records
from avalanche_ham.strategies.registry import METHODS

FAILURE = "failure.json"
LARGEST_NOTE = 2**24  # bytes


@dataclass
class Archive:
    """What is known about runs.

    Attributes:
        records: by what is asked for (``Identity.asked``), in path order.
        failures: likewise, for runs that failed.
        digests: of the images and weights at hand, by ``Identity.training``; where they are
            known, only a record with the same ones answers.
    """

    records: dict[Identity, list[Record]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[Identity, dict[str, Any]] = field(default_factory=dict)
    digests: dict[Identity, Digests] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take a record; of several of one run the first one answers."""
        self.records[identity_in(record).asked].append(record)

    def identity(self, config: RunConfig) -> Identity:
        """Give a run's identity, as far as its images and weights are known."""
        identity = identity_of(config)
        return identity._replace(digests=self.digests.get(identity.training, Digests()))

    def found(self, config: RunConfig) -> list[Record]:
        """Give all records of a run whose numbers are of the method's present version."""
        version = METHODS[config.method].numbers
        known = self.records.get(identity_of(config).asked, [])
        return [record for record in known if record["numbers_version"] == version]

    def record(self, config: RunConfig, needs: Collection[str] = ()) -> Record | None:
        """Give the record of a run, None if it is not finished or lacks one of some entries."""
        wanted = self.digests.get(identity_of(config).training)
        for record in self.found(config):
            if lacks(record, needs):
                continue
            if wanted is None or identity_in(record).digests == wanted:
                return record
        return None

    def stale(self, config: RunConfig) -> int:
        """Count the records of a run from before its method's numbers changed."""
        return len(self.records.get(identity_of(config).asked, [])) - len(self.found(config))

    def common_preset(self) -> str | None:
        """Give the preset that most records have, None without records."""
        counts = Counter(record["preset"] for record in self.all_records())
        return counts.most_common(1)[0][0] if counts else None

    def knows(self, benchmark: str) -> bool:
        """Whether any finished run is on this benchmark."""
        return any(identity.benchmark == benchmark for identity in self.records)

    def failure(self, config: RunConfig, needs: Collection[str] = ()) -> dict[str, Any] | None:
        """Give what is known of a run that failed: ``error`` and ``tasks_done``."""
        return None if self.record(config, needs) else self.failures.get(identity_of(config).asked)

    def present(self, like: Mapping[str, Any]) -> list[Record]:
        """Give the records with some entries, of their method's present version; of a run one."""
        once: dict[Identity, Record] = {}
        for record in self.all_records():
            fits = all(record.get(key) == value for key, value in like.items())
            if fits and record["numbers_version"] == METHODS[record["method"]].numbers:
                once.setdefault(identity_in(record), record)
        return list(once.values())

    def all_records(self) -> Iterable[Record]:
        """Give every record."""
        return (record for records in self.records.values() for record in records)


def read_archive(folder: Path, *, must_exist: bool = True) -> Archive:
    """Read every ``*.jsonl`` and ``failure.json`` below a folder.

    Args:
        folder: of any layout.
        must_exist: False takes a folder that is not there as an empty one.

    Raises:
        DataError: if the folder does not exist, cannot be read, or a line in it is no record.
    """
    archive = Archive()
    if not folder.exists() and not must_exist:
        return archive
    for _, record in placed_records(folder):
        archive.add(record)
    for path in files_below(folder, FAILURE) if folder.is_dir() else ():
        try:
            archive.failures |= _failed_in(read_failure(path))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            words = f"{path} is no note of a failed run; it is left out"
            warnings.warn(words, stacklevel=2)
    return archive


def check_one_origin(runs: Iterable[RunConfig], archive: Archive) -> None:
    """Refuse to put records on different weights or images into one table.

    Images are compared among records of one data set, seed and choice of images, since the seed
    draws a subset.

    Raises:
        DataError: naming what differs and how many records are of each.
    """
    weights: dict[str, dict[str | None, int]] = defaultdict(lambda: defaultdict(int))
    images: dict[str, dict[str | None, int]] = defaultdict(lambda: defaultdict(int))
    for run, config in {identity_of(config): config for config in runs}.items():  # each once
        wanted = archive.digests.get(run.training)
        for record in archive.found(config):
            if wanted is not None and identity_in(record).digests != wanted:
                continue
            data = benchmark_options(record["benchmark"])
            choice = {k: v for k, v in record["hyperparameters"].items() if k in data}
            place = f"{record['benchmark']}, seed {record['seed']}, {choice}"
            weights[record["backbone"]][record["weights_digest"]] += 1
            images[place][record["images_digest"]] += 1
    for what, groups in (("weights of", weights), ("images of", images)):
        for place, counts in groups.items():
            if len(counts) > 1:
                found = ", ".join(f"{d or 'unknown'} ({n} records)" for d, n in counts.items())
                raise DataError(
                    f"records: they are on different {what} {place}: {found}; keep each in a "
                    "folder of its own"
                )


def read_failure(path: Path) -> dict[str, Any]:
    """Read a note of failure.

    Raises:
        OSError, ValueError: if there is none, or it is damaged.
    """
    return dict(json.loads(read_regular(path, limit=LARGEST_NOTE)))


def _failed_in(failure: dict[str, Any]) -> dict[Identity, dict[str, Any]]:
    """Give what a note says, for each head of the run."""
    entries = failure["identity"]
    if failure.get("bad_input"):
        return {}
    note = {"error": failure["error"], "tasks_done": failure["tasks_done"]}
    note["traceback"] = failure.get("traceback", "")
    return {identity_in(entries, head).asked: note for head in entries["head"].split(",")}


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
        "identity": identity_entries(resolve_config(config)),
        "error": error,
        "tasks_done": tasks_done,
        "bad_input": bad_input,
        "traceback": traceback,
    }
    write_whole(folder / FAILURE, (json.dumps(note, indent=2) + "\n").encode())
