"""The page: template, style, script, library and data in one file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from avalanche_ham.errors import DataError
from avalanche_ham.reporting.methods import HAM
from avalanche_ham.reporting.report_page.charts import CONTROLS, SELECTS, charts, data_names
from avalanche_ham.reporting.report_page.datasets import datasets
from avalanche_ham.reporting.report_page.download import comma_separated, data_url
from avalanche_ham.reporting.report_page.library import library
from avalanche_ham.reporting.report_page.provenance import described
from avalanche_ham.reporting.report_page.rows import Placed, Row, Site, make_rows
from avalanche_ham.reporting.report_page.table import table
from avalanche_ham.runs.records import placed_records


def report_page(folder: Path) -> str:
    """Write all records below a folder as one HTML page that fetches nothing.

    Args:
        folder: every ``*.jsonl`` below it is read; or one such file.

    Raises:
        HamError: if there is nothing to read, a line is no record, or the package that draws
            the charts is not installed.
    """
    root = folder if folder.is_dir() else folder.parent
    placed = [
        Placed(where.removeprefix(f"{root}/"), record) for where, record in placed_records(folder)
    ]
    if not placed:
        raise DataError(f"records: no record below {folder}")
    return page_of(make_rows(placed), title=f"Records of {folder.resolve().name}", read=len(placed))


def page_of(rows: Sequence[Row], *, title: str, read: int) -> str:
    """Write the page of some rows.

    Args:
        rows: at least one.
        title: of the page.
        read: number of records that were read for them.
    """
    by_key = {row.site.key: row.site for row in rows}
    drawn = charts()
    data = {
        "controls": CONTROLS,
        "sites": {key: described(site.entries) for key, site in by_key.items()},
        "first": _first(rows).key,
        "charts": drawn,
        "uses": {name: data_names(spec) for name, spec in drawn.items()},
        "datasets": datasets(rows),
    }
    parts = {
        "title": escape(title),
        "counts": _counts(rows, by_key.values(), read),
        "sites": _options({key: site.title for key, site in by_key.items()}),
        **{name: _options(choices) for name, choices in SELECTS.items()},
        "csv": data_url(comma_separated(rows)),
        "table": table(rows),
        "library": library(),
        "data": _json(data),
        "css": _file("page.css"),
        "script": _file("page.js"),
    }
    return Template(_file("page.html")).substitute(parts)


def _first(rows: Sequence[Row]) -> Row:
    """Choose what the page opens with: HAM, or the best method, where most methods are."""
    counts = Counter(row.site.key for row in rows)
    there = [row for row in rows if row.site.key == counts.most_common(1)[0][0]]
    return next((row for row in there if row.label == HAM), there[0])


def _counts(rows: Sequence[Row], sites: Iterable[Site], read: int) -> str:
    shown = sum(len(row.runs) for row in rows)
    words = f"{shown} runs of {len({r.records[0]['method'] for r in rows})} methods"
    words += f" on {len({site.entries['benchmark'] for site in sites})} data sets"
    if shown < read:
        words += f"; {read - shown} more records are of runs that are shown already"
    return words + "."


def _options(choices: dict[str, str]) -> str:
    pairs = ((escape(value), escape(words)) for value, words in choices.items())
    return "".join(f'<option value="{value}">{words}</option>' for value, words in pairs)


def _json(data: dict[str, Any]) -> str:
    """Write JSON that cannot end the script that it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c")


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip()
