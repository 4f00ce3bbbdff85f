"""The charts in Vega-Lite's grammar; the page's controls are parameters that all of them have.

Colours are the style sheet's variables, so that the charts follow light and dark by themselves.
"""

from __future__ import annotations

from typing import Any

from avalanche_ham.reporting.report_page.charts.costs import costs
from avalanche_ham.reporting.report_page.charts.curves import curves
from avalanche_ham.reporting.report_page.charts.groups import alphas, cosines
from avalanche_ham.reporting.report_page.charts.lengths import lengths
from avalanche_ham.reporting.report_page.charts.matrix import matrix
from avalanche_ham.reporting.report_page.charts.methods import methods
from avalanche_ham.reporting.report_page.charts.parts import Spec
from avalanche_ham.reporting.report_page.quantities import COSTS, METRICS

__all__ = ["CONTROLS", "SELECTS", "charts", "data_names"]

CONTROLS = ("site", "chosen", "search", "metric", "cost", "curve")
SELECTS = {  # of a control: value -> what it is called
    "metric": {name: number.title for name, number in METRICS.items()},
    "cost": {name: number.title for name, number in COSTS.items()},
    "curve": {"fm": "forgetting (FM) so far, %", "aa": "accuracy (AA) so far, %"},
}

CONFIG: Spec = {
    "font": "system-ui, -apple-system, Segoe UI, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--ink)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": "var(--ink)", "titleColor": "var(--ink)", "labelFontSize": 12},
    "text": {"fontSize": 12},
}


def charts() -> dict[str, Spec]:
    """Give the charts by the name of their place on the page."""
    found = {
        "methods": (methods(), "mean and interval of each method"),
        "lengths": (lengths(), "each method over the number of tasks"),
        "matrix": (matrix(), "accuracy on each task after each task"),
        "curves": (curves(), "each method after each task"),
        "cosines": (cosines(), "cosine of each new adapter with the groups, and the group joined"),
        "alphas": (alphas(), "alpha of each group and new adapter after each task"),
        "costs": (costs(), "accuracy of each method over its cost"),
    }
    return {
        name: {**_common(), "description": words, **spec} for name, (spec, words) in found.items()
    }


def data_names(spec: Any) -> list[str]:
    """List the names of the data that a chart draws."""
    if isinstance(spec, dict):
        own = [spec["data"]["name"]] if "data" in spec else []
        return sorted({*own, *(name for part in spec.values() for name in data_names(part))})
    parts = spec if isinstance(spec, list) else []
    return sorted({name for part in parts for name in data_names(part)})


def _common() -> Spec:
    return {
        "width": "container",
        "background": None,
        "config": CONFIG,
    }
