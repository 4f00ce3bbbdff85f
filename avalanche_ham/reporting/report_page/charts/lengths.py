"""One metric over the number of tasks."""

from __future__ import annotations

from avalanche_ham.reporting.report_page.charts.parts import (
    FOUND,
    NOT_FROM_0,
    Spec,
    calculate,
    tooltip,
)

VALUE = {"field": "value", "type": "quantitative", "title": None, **NOT_FROM_0}


def lengths() -> Spec:
    """Draw the metric over the number of tasks; the chosen method stands out."""
    family = {"from": {"data": {"name": "rows"}, "key": "key", "fields": ["family", "label"]}}
    shown = [
        calculate("chosen", "picked"),
        {"lookup": "picked", **family, "as": ["chosen_family", "chosen_label"]},
        {"filter": "datum.family === datum.chosen_family"},
        {"filter": FOUND},
        calculate("datum[metric]", "value"),
        {"filter": "isValid(datum.value)"},
        *(calculate(f"datum[metric + '_{end}']", end) for end in ("low", "high")),
        calculate("datum[metric + '_words']", "interval"),
    ]
    chosen = [{"filter": "datum.label === datum.chosen_label"}]
    told = tooltip(["label", "tasks", ("interval", "mean, 95 %"), "seeds"])
    return {
        "height": 340,
        "data": {"name": "rows"},
        "transform": shown,
        "encoding": {
            "x": {"field": "tasks", "type": "ordinal", "title": "tasks", "axis": {"labelAngle": 0}},
            "y": VALUE,
            "detail": {"field": "label"},
        },
        "layer": [
            {
                "mark": {"type": "line", "color": "var(--other)", "opacity": 0.4, "point": True},
                "encoding": told,
            },
            {
                "transform": chosen,
                "mark": {"type": "rule", "strokeWidth": 3, "color": "var(--accent)"},
                "encoding": {
                    "y": {"field": "low", "type": "quantitative"},
                    "y2": {"field": "high"},
                },
            },
            {
                "transform": chosen,
                "mark": {"type": "line", "color": "var(--accent)", "point": {"size": 70}},
                "encoding": told,
            },
        ],
    }
