"""The accuracy matrix as a heat map."""

from __future__ import annotations

from avalanche_ham.reporting.report_page.charts.parts import Spec, calculate, ticks, tooltip


def matrix() -> Spec:
    """Draw the accuracy matrix as a heat map; the number of a square is found by its place."""
    return {
        "height": 380,
        "data": {"name": "matrices"},
        "transform": [
            {"filter": "datum.key === chosen"},
            {"flatten": ["a"]},
            {"window": [{"op": "row_number", "as": "place"}]},
            # place = t (t - 1) / 2 + j, with 1 <= j <= t
            calculate("ceil((sqrt(8 * datum.place + 1) - 1) / 2)", "after"),
            calculate("datum.place - datum.after * (datum.after - 1) / 2", "of"),
            {"filter": "isValid(datum.a)"},
            calculate("datum.a / 10", "accuracy"),
            calculate(
                "'task ' + datum.of + ' after task ' + datum.after + ': '"
                " + format(datum.accuracy, '.1f') + ' %'",
                "said",
            ),
        ],
        "mark": {"type": "rect", "tooltip": True},
        "encoding": {
            "x": {"field": "of", "type": "ordinal", "title": "accuracy on task", "axis": ticks()},
            "y": {"field": "after", "type": "ordinal", "title": "after task", "axis": ticks()},
            "color": {
                "field": "accuracy",
                "type": "quantitative",
                "title": "%",
                "scale": {"scheme": "viridis", "domain": [0, 100]},
                "legend": {"gradientLength": 160},
            },
            "description": {"field": "said"},
            **tooltip([("of", "task"), ("after", "after task"), ("accuracy", "accuracy, %")]),
        },
    }
