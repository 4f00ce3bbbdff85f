"""All runs as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from urllib.parse import quote

from avalanche_ham.reporting.report_page.provenance import options, provenance
from avalanche_ham.reporting.report_page.quantities import COSTS, METRICS
from avalanche_ham.reporting.report_page.rows import Row

IDENTITY = ("method", "benchmark", "n_tasks", "head", "preset", "backbone", "image_size")


def comma_separated(rows: Sequence[Row]) -> str:
    """Write a line per run, numbers unrounded and empty where undefined."""
    numbers = {**METRICS, **COSTS}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    about = ("seed", "record", "date", "commit", "made on", "versions")
    writer.writerow(["label", *IDENTITY, *numbers, *about, "options"])
    for row in rows:
        for run in row.runs:
            record, words = run.record, provenance(run)
            writer.writerow(
                [
                    row.label,
                    *(record[name] for name in IDENTITY),  # type: ignore[literal-required]
                    *(number.read(record) for number in numbers.values()),
                    *(words[name] for name in about),
                    options(record),
                ]
            )
    return stream.getvalue()


def data_url(text: str) -> str:
    """Write a text as an address that a browser can save."""
    return "data:text/csv;charset=utf-8," + quote(text, safe=" ,.:/=+()")
