"""The page on Avalanche's plugins says what its script finds."""

from __future__ import annotations

import re

import pytest


def said(table: str, name: str, method: str) -> str:
    """Read a cell of the committed page; a note's number becomes its line."""
    from plugin_matrix import METHODS, PAGE

    part = PAGE.read_text().partition(f"## {table}")[2].partition("\n## ")[0]
    (row,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", part, flags=re.MULTILINE)
    cell, _, note = row.split("|")[METHODS.index(method)].strip().partition("[")
    lines = re.findall(rf"^{note[:-1]}\. `(.*)`$", part, flags=re.MULTILINE) if note else []
    return "; ".join(filter(None, (cell.strip(), *lines)))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("EWCPlugin, online", "lora"),
        ("EWCPlugin, separate", "ham"),
        ("MASPlugin", "l2p"),
        ("EWCPlugin, separate", "slao"),
        ("ReplayPlugin", "pam"),
        ("RWalkPlugin", "o_lora"),
        ("MASPlugin", "i_lora"),
        ("EWCPlugin, online", "magmax"),
        ("EWCPlugin, separate", "pm"),
        ("ReplayPlugin", "lora_er"),
        ("ReplayPlugin", "ham"),
        ("MIRPlugin", "inflora"),
        ("LRSchedulerPlugin", "ham"),
    ],
)
def test_a_few_cells_are_as_the_page_says(experiments, name, method):
    from plugin_matrix import plugin_cell

    assert plugin_cell(name, method) == said("Plugins", name, method)


@pytest.mark.parametrize("name", ["forgetting", "class_accuracy"])
def test_a_few_metrics_are_as_the_page_says(experiments, name):
    from plugin_matrix import metric_cell

    assert metric_cell(name, "ham") == said("Metrics", name, "ham")


@pytest.mark.stress
def test_the_whole_page_is_what_the_script_writes(experiments):
    pytest.importorskip("quadprog", reason="GEMPlugin's solver, which a plain install brings")
    from plugin_matrix import PAGE, page

    assert page() == PAGE.read_text()
