"""The page as text: whole, without a network, and proof against what stands in records."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from avalanche_ham.errors import DataError, HamError
from avalanche_ham.reporting.report_page import report_page

NASTY = "</script><script>alert(1)</script> $title & 'x' \u00e9"


class Page(HTMLParser):
    """Collect elements with their attributes, and the texts of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = [("", {})]
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attrs = self.elements[-1]
        self.texts.setdefault(attrs.get("id") or tag, data)

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def address(self):
        return next(a["href"] for a in self.of("a") if "download" in a)


@pytest.fixture
def page_of(folder, no_library):
    return lambda *pairs: Page(report_page(folder(*pairs)))


def test_nothing_is_fetched(page_of):
    page = page_of(({}, {}))
    addresses = [a.get("src") or a.get("href") for _, a in page.elements]
    assert all(re.match("(data:|#)", address) for address in addresses if address)
    policy = next(a["content"] for a in page.of("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy  # a browser would refuse to


def test_what_stands_in_records_cannot_leave_its_place(page_of):
    page = page_of(({}, {"commit": NASTY, "clean": True, "method": NASTY, "processor": NASTY}))
    assert len(page.of("script")) == 3
    data = json.loads(page.texts["data"])
    assert NASTY in data["datasets"]["seeds"][0]["made on"]
    assert data["datasets"]["rows"][0]["label"] == NASTY


def test_the_download_holds_every_run(page_of):
    page = page_of(({"seed": 1}, {"aa": 51.25}), ({"seed": 2}, {"aa": None, "commit": NASTY}))
    text = unquote(page.address().partition(",")[2])
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["seed"], first["aa"], first["label"]) == ("1", "51.25", "HAM")
    assert first["record"] == "records.jsonl, line 1"
    assert (second["aa"], second["train"]) == ("", "6.0")
    assert second["commit"].startswith(NASTY[:12])


def test_the_table_has_a_row_per_method_that_its_key_finds(page_of):
    page = page_of(({}, {}), ({"method": "lora"}, {}), ({"n_tasks": 5}, {}))
    rows = {a["id"]: a for a in page.of("tr") if "id" in a}
    data = json.loads(page.texts["data"])
    assert set(rows) == {row["key"] for row in data["datasets"]["rows"]} and len(rows) == 3
    assert all(rows[row["key"]]["data-site"] == row["site"] for row in data["datasets"]["rows"])
    assert {a["data-site"] for a in rows.values()} == set(data["sites"])


def test_the_page_opens_with_ham_where_most_methods_are(page_of):
    several = [({"method": m, "n_tasks": 5}, {"aa": 90.0}) for m in ("lora", "frozen")]
    page = page_of(({}, {}), *several, ({"n_tasks": 5}, {"aa": 1.0}))
    data = json.loads(page.texts["data"])
    first = next(r for r in data["datasets"]["rows"] if r["key"] == data["first"])
    assert (first["label"], first["tasks"]) == ("HAM", 5)


def test_every_control_has_a_name(page_of):
    page = page_of(({}, {}))
    for tag in ("select", "input"):
        for attrs in page.of(tag):
            assert attrs.get("aria-label") or _labelled(page, attrs["id"])


def _labelled(page, key):
    tags = [(tag, attrs.get("id")) for tag, attrs in page.elements]
    place = next(i for i, (_, found) in enumerate(tags) if found == key)
    return tags[place - 1][0] == "label"


def test_records_that_are_not_shown_are_counted(folder, no_library):
    text = report_page(folder(({}, {}), ({}, {})))
    assert "1 runs of 1 methods on 1 data sets; 1 more records" in text


def test_a_folder_without_records_is_refused(tmp_path, no_library):
    with pytest.raises(DataError, match="no record below"):
        report_page(tmp_path)


def test_without_the_library_one_line_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(HamError, match=r"pip install 'avalanche-ham\[report\]'"):
        report_page(folder(({}, {})))
