"""Forgetting and accuracy while a run goes on."""

from __future__ import annotations

from avalanche_ham.reporting.report_page.charts.parts import (
    CHOSEN,
    COLOUR,
    FOUND,
    HERE,
    Spec,
    calculate,
    task_axis,
    tooltip,
)


def curves() -> Spec:
    """Draw forgetting or accuracy after each task, a line per method."""
    y = {"field": "value", "type": "quantitative", "title": None}
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
            "y": y,
            "detail": {"field": "key"},
        },
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.2},
                "encoding": {"color": {"value": "var(--other)"}, "opacity": {"value": 0.55}},
            },
            {
                "transform": [{"filter": "datum.key === chosen"}],
                "mark": {"type": "line", "strokeWidth": 3, "color": "var(--accent)"},
            },
            {
                "mark": {"type": "circle", "size": 40},
                "encoding": {
                    "color": COLOUR,
                    "opacity": {"condition": {"test": CHOSEN["test"], "value": 1}, "value": 0.25},
                    **tooltip(["label", "task", "value"]),
                },
            },
        ],
    }
