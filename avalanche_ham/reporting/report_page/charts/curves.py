"""Forgetting and accuracy while a run goes on."""

from __future__ import annotations

from avalanche_ham.reporting.report_page.charts.parts import (
    FOUND,
    HERE,
    Spec,
    calculate,
    task_axis,
    tooltip,
)


def curves() -> Spec:
    """Draw forgetting or accuracy after each task, a line per method."""
    told = tooltip(["label", "task", "value"])
    return {
        "height": 380,
        "data": {"name": "curves"},
        "transform": [
            {"filter": HERE},
            {"filter": FOUND},
            {"flatten": ["task", "fm", "aa"]},
            calculate("datum[curve]", "value"),
            {"filter": "isValid(datum.value)"},
        ],
        "encoding": {
            "x": task_axis(),
            "y": {"field": "value", "type": "quantitative", "title": None},
            "detail": {"field": "key"},
        },
        "layer": [
            {
                "mark": {"type": "line", "color": "var(--other)", "opacity": 0.4, "point": True},
                "encoding": told,
            },
            {
                "transform": [{"filter": "datum.key === chosen"}],
                "mark": {
                    "type": "line",
                    "strokeWidth": 3,
                    "color": "var(--accent)",
                    "point": {"size": 50},
                },
                "encoding": told,
            },
        ],
    }
