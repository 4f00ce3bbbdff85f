"""A page of a few made-up records, and a stand-in for the library that draws."""

from __future__ import annotations

import json

import pytest
from made_up_records import made_up

from avalanche_ham.reporting.report_page import page
from avalanche_ham.reporting.report_page.rows import Placed, make_rows
from avalanche_ham.runs.config import RunConfig

QUICK = {"benchmark": "digits", "n_tasks": 3, "preset": "smoke"}


@pytest.fixture
def rows_of():
    """A function from (options of a run, entries of its record) pairs to the page's rows."""

    def make(*pairs):
        placed = [
            Placed(f"file, line {i}", made_up(RunConfig(**{**QUICK, **config}), **values))
            for i, (config, values) in enumerate(pairs, 1)
        ]
        return make_rows(placed)

    return make


@pytest.fixture
def no_library(monkeypatch):
    """Leave the charts' library out, which not everyone has."""
    monkeypatch.setattr(page, "library", lambda: "/* the library */")


@pytest.fixture
def folder(tmp_path):
    """A function that writes records to a folder and gives it."""

    def write(*pairs):
        lines = [json.dumps(made_up(RunConfig(**{**QUICK, **c}), **v)) for c, v in pairs]
        place = tmp_path / "runs"
        place.mkdir(exist_ok=True)
        (place / "records.jsonl").write_text("\n".join(lines) + "\n")
        return place

    return write
