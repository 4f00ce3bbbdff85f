"""Gather the records of many runs into one sorted file per data set, length and preset."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from avalanche_ham.errors import DataError, check_path
from avalanche_ham.files import write_whole
from avalanche_ham.runs.identity import Identity, identity_in
from avalanche_ham.runs.records import Record, read_records


def collect(source: str | Path, to: str | Path) -> list[Path]:
    """Merge the records below ``source`` into the collection in ``to``.

    Each record goes into ``to/<benchmark>/<n>tasks-<preset>.jsonl``, sorted by its identity. One
    that stands there already stays as it is; so collecting twice changes nothing.

    Returns:
        The files that were written.

    Raises:
        DataError: if there is nothing to read, a line is no record, or two records of one run
            give different accuracies.
    """
    files: dict[Path, dict[Identity, Record]] = defaultdict(dict)
    source, to = check_path("source", source), check_path("to", to)
    new = read_records(source)
    places = {_place(record) for record in new}
    for record in [r for p in sorted(places) if (to / p).exists() for r in read_records(to / p)]:
        files[_place(record)][identity_in(record)] = record
    for record in new:
        identity = identity_in(record)
        known = files[_place(record)].setdefault(identity, record)
        if known["accuracy_matrix"] != record["accuracy_matrix"]:
            raise DataError(f"records: two of one run differ in their accuracies: {identity.slug}")
    written = []
    for place, records in sorted(files.items()):
        lines = [json.dumps(records[i], allow_nan=False) + "\n" for i in sorted(records, key=repr)]
        path = to / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != "".join(lines).encode():
            write_whole(path, "".join(lines).encode())
            written.append(path)
    return written


def _place(record: Record) -> Path:
    return Path(record["benchmark"], f"{record['n_tasks']}tasks-{record['preset']}.jsonl")
