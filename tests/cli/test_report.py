"""``ham report`` writes one page, or says in one line why not."""

from __future__ import annotations

import re

import pytest
from made_up_records import Shelf

from avalanche_ham.cli.main import main
from avalanche_ham.reporting.report_page import page
from avalanche_ham.runs.config import RunConfig


@pytest.fixture
def records(tmp_path):
    shelf = Shelf(tmp_path / "records")
    shelf.put(RunConfig(benchmark="digits", preset="smoke"))
    return shelf.folder


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setattr(page, "library", lambda: "")


def test_the_page_lies_where_it_was_asked_for(records, no_library, tmp_path, capsys):
    out = tmp_path / "new" / "report.html"
    assert main(["report", "--records", str(records), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert "<title>Records of records</title>" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("read", "out", "said"),
    [
        ("records", "", "out: .* is a folder, not a file"),
        ("records", "file/report.html", "out: .*file is a file, not a folder"),
        ("none", "report.html", "records: .*none does not exist"),
        ("file", "report.html", "records: .*file, line 1 is not JSON"),
    ],
)
def test_bad_input_is_refused_in_one_line(read, out, said, records, no_library, tmp_path, capsys):
    (tmp_path / "file").write_text("mine\n")
    before = sorted(tmp_path.rglob("*"))
    words = ["report", "--records", str(tmp_path / read), "--out", str(tmp_path / out)]
    assert main(words) == 2
    printed, error = capsys.readouterr()
    assert printed == "" and error.count("\n") == 1
    assert re.search(said, error)
    assert sorted(tmp_path.rglob("*")) == before
