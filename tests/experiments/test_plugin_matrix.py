"""The page about Avalanche says what its plugins and metrics do beside the methods, as executed."""

from __future__ import annotations

import plugin_matrix
import pytest

pytestmark = pytest.mark.slow
WORKS = plugin_matrix.WORKS


@pytest.mark.parametrize("name", plugin_matrix.PLUGINS)
def test_the_page_says_of_every_plugin_what_happens(name):
    cells = plugin_matrix.plugin_cells(name)
    assert all(cell.startswith(WORKS) for cell in cells[:-1])
    assert_on_page(name, cells)


@pytest.mark.parametrize("method", plugin_matrix.METHODS)
def test_every_metric_of_avalanche_works_with_task_labels(method):
    every = plugin_matrix.all_metrics
    assert plugin_matrix.outcome(method, task_labels=True, metric=every) == WORKS


@pytest.mark.parametrize("name", plugin_matrix.METRICS)
def test_the_page_says_of_every_metric_what_happens_without_task_labels(name):
    together = dict.fromkeys(plugin_matrix.METHODS, WORKS)
    assert_on_page(name, plugin_matrix.metric_cells(name, together))


def assert_on_page(name: str, cells: list[str]) -> None:
    """Compare a row of the page, and the lines below its table, with what was executed."""
    page = plugin_matrix.PAGE.read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
    said = [cell.split("[")[0].strip() for cell in row.strip("|").split("|")[1:]]
    assert said == [WORKS if cell.startswith(WORKS) else "no" for cell in cells]
    assert all(cell == WORKS or cell in page for cell in cells)
