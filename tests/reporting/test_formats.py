"""Markdown, CSV and LaTeX of one small table."""

from __future__ import annotations

import csv
import io
import re

import pytest

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.formats import comma_separated, escape, latex, markdown
from avalanche_ham.reporting.layout import Block, Row, Sheet
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.table import Column


@pytest.fixture
def table():
    rows = (
        Row(
            "HAM",
            (
                Summary(mean=71.784, std=2.236, n=3, paper=Value(71.78, 2.24)),
                Summary(mean=3.0, n=1, missing=2),
                Summary(text="0, 1"),
            ),
            best=(True, False, False),
        ),
        Row(
            "SD_LoRA & co",
            (
                Summary(n=0, missing=3, paper=Value(70.0)),
                Summary(failed=3),
                Summary(no_data=True),
            ),
            best=(False, False, False),
        ),
        Row(
            "mixed",
            (
                Summary(mean=1.0, n=1, failed=1, missing=1),
                Summary(missing=1),
                Summary(missing=1),
            ),
            best=(False, False, False),
        ),
    )
    columns = (
        Column("CIFAR-100", best="max"),
        Column("time", digits=0),
        Column("group"),
    )
    block = Block("linear head", columns, rows)
    return Sheet("Table 1. AA (%)", (block,), ("50% of the runs",))


def test_markdown_has_the_paper_beside_ours_and_the_best_in_bold(table):
    lines = markdown(table).splitlines()
    assert "| Method | CIFAR-100 | paper | time | group |" in lines
    assert "| HAM | **71.78** ± 2.24 | 71.78 ± 2.24 | 3 (1 of 3) | 0, 1 |" in lines
    assert "| SD_LoRA & co | – | 70.00 | failed (3 of 3) | no data |" in lines
    assert "| mixed | 1.00 (1 of 3, 1 failed) |  | – | – |" in lines
    assert lines[-1] == "- 50% of the runs"


def test_every_markdown_line_has_the_same_number_of_cells(table):
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {6}


def test_csv_reads_back_unrounded(table):
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert len(rows) == 9
    first = rows[0]
    assert (float(first["mean"]), float(first["std"])) == (71.784, 2.236)
    assert (first["seeds"], first["paper"], first["best"]) == ("3", "71.78", "1")
    assert (rows[3]["mean"], rows[3]["missing"]) == ("", "3")
    assert (rows[5]["no_data"], rows[2]["text"]) == ("1", "0, 1")


def test_latex_is_balanced_and_rectangular(table):
    text = latex(table)
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.findall(r"\\begin\{(\w+)\}", text) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", text) == ["tabular", "table"]
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")][1:]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {4}
    assert r"\begin{tabular}{lrrrr}" in text


def test_latex_escapes_what_it_must(table):
    text = latex(table)
    assert r"SD\_LoRA \& co" in text
    assert r"\textbf{71.78} $\pm$ 2.24" in text
    assert r"50\% of the runs" in text
    assert text.isascii()
    assert escape("a_b{c}\\") == r"a\_b\{c\}\textbackslash{}"
