"""Which machines times were taken on: those of several do not compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.identity import identity_of


def machines_of(runs: Iterable[RunConfig], archive: Archive) -> Counter[str]:
    """Count the records of runs, each run once, by processor, device, threads and precision."""
    records = map(archive.record, {identity_of(run): run for run in runs}.values())
    return Counter(
        f"{r['processor']}, {r['device']}, {r['threads']} threads, {r['precision']}"
        for r in records
        if r is not None
    )
