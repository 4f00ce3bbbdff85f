"""The numbers of the page, each a name, what it is and how it is read from a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from avalanche_ham.runs.records import seconds_of


class Number(NamedTuple):
    """A number of a record.

    Attributes:
        title: heading, with the unit.
        read: record -> number, None where it is undefined or was not measured.
        digits: after the point.
    """

    title: str
    read: Callable[[Mapping[str, Any]], float | None]
    digits: int = 2


def _entry(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda record: record[name]


METRICS = {
    "aa": Number("AA, %", _entry("aa")),
    "fm": Number("FM, %", _entry("fm")),
    "bwt": Number("BWT, %", _entry("bwt")),
    "aaa": Number("AAA, %", _entry("aaa")),
}
COSTS = {
    "train": Number("training, s", lambda record: sum(record["train_seconds"]), 1),
    "seconds": Number("whole run, s", seconds_of, 1),
    "stored": Number("stored parameters", lambda record: record["stored_parameters"][-1], 0),
    "trainable": Number(
        "trainable parameters", lambda record: max(record["trainable_parameters"], default=None), 0
    ),
    "memory": Number("peak memory, MB", _entry("peak_memory_mb"), 0),
}
