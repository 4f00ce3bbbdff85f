"""Methods at one site, each run and the mean with its interval."""

from __future__ import annotations

from avalanche_ham.reporting.report_page.charts.parts import (
    COLOUR,
    FOUND,
    HERE,
    NOT_FROM_0,
    PROVENANCE,
    Spec,
    calculate,
    tooltip,
)


def methods() -> Spec:
    """Draw a line per method: each run, the mean, and its interval."""
    shown = [{"filter": HERE}, {"filter": FOUND}, calculate("datum[metric]", "value")]
    rank = calculate("(metric === 'fm' ? 1 : -1) * datum.value", "rank")
    y = {
        "field": "label",
        "type": "nominal",
        "sort": {"field": "rank", "op": "min"},
        "title": None,
        "axis": {"labelLimit": {"expr": "width < 420 ? 130 : 330"}, "grid": True},
    }
    ends = [calculate(f"datum[metric + '_{end}']", end) for end in ("low", "high")]
    known = [*shown, {"filter": "isValid(datum.value)"}, rank]
    words = calculate("datum.label + ': ' + datum[metric + '_words']", "said")
    x = {
        "field": "value",
        "type": "quantitative",
        "title": None,
        **NOT_FROM_0,
        "axis": {"orient": "top"},  # seen however many methods there are
    }
    mean = {
        **tooltip([("label", "method"), ("interval", "mean, 95 %"), "seeds"]),
        "description": {"field": "said"},
        "x": x,
    }
    return {
        "height": {"step": 20},
        "encoding": {"y": y, "color": COLOUR},
        "layer": [
            {
                "data": {"name": "rows"},
                "transform": [*known, *ends],
                "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.45, "aria": False},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "data": {"name": "seeds"},
                "transform": known,
                "mark": {"type": "tick", "thickness": 2, "size": 12},
                "encoding": {"x": x, **tooltip(["label", "value", *PROVENANCE])},
            },
            {
                "data": {"name": "rows"},
                "transform": [*known, words, calculate("datum[metric + '_words']", "interval")],
                "mark": {"type": "circle", "size": 90, "opacity": 1},
                "encoding": mean,
            },
        ],
    }
