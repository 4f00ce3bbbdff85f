"""What accuracy costs."""

from __future__ import annotations

from avalanche_ham.reporting.report_page.charts.parts import (
    COLOUR,
    FOUND,
    HERE,
    NOT_FROM_0,
    ON_TOP,
    Spec,
    calculate,
    tooltip,
)


def costs() -> Spec:
    """Draw AA over what it costs; the names and the line are of those that nothing beats."""
    shown = [
        {"filter": HERE},
        {"filter": FOUND},
        calculate("datum[cost]", "spent"),
        {"filter": "isValid(datum.aa) && datum.spent > 0"},
        {
            "window": [{"op": "max", "field": "aa", "as": "best"}],
            "sort": [{"field": "spent"}],
            "frame": [None, 0],
        },
        calculate("datum.aa >= datum.best", "unbeaten"),
    ]
    x = {
        "field": "spent",
        "type": "quantitative",
        "title": None,
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"format": "~s", "tickCount": 5},
    }
    y = {"field": "aa", "type": "quantitative", "title": "AA, %", **NOT_FROM_0}
    unbeaten = [{"filter": "datum.unbeaten"}]
    named = [{"filter": "datum.unbeaten || datum.key === chosen"}]
    return {
        "height": 340,
        "data": {"name": "rows"},
        "transform": shown,
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "transform": unbeaten,
                "mark": {
                    "type": "line", "interpolate": "step-after", "color": "var(--faint)",
                    "aria": False,
                },
            },
            {
                "mark": {"type": "circle", "size": 80},
                "encoding": {
                    "color": COLOUR,
                    "opacity": ON_TOP,
                    **tooltip(["label", ("aa_words", "AA, %"), ("spent", "cost"), "seeds"]),
                },
            },
            {
                "transform": named,
                "mark": {"type": "text", "align": "left", "dx": 7, "dy": -7, "limit": 150},
                "encoding": {"text": {"field": "label"}, "color": COLOUR},
            },
        ],
    }  # fmt: skip
