"""Which group each adapter joined, and the alphas."""

from __future__ import annotations

from avalanche_ham.reporting.report_page.charts.parts import (
    NOT_FROM_0,
    Spec,
    calculate,
    named,
    task_axis,
    ticks,
    tooltip,
)

# seen on every colour, in light and dark
DOT = {"type": "point", "size": 50, "filled": True, "fill": "black", "stroke": "white"}


def cosines() -> Spec:
    """Draw how alike each new adapter was to the groups, and which one it joined."""
    of_chosen = {"filter": "datum.key === chosen"}
    task = {"field": "task", "type": "ordinal", "title": "task", "axis": ticks()}
    group = {"field": "group", "type": "ordinal", "title": "group"}
    return {
        "height": {"step": 28},
        "data": {"name": "groups"},
        "encoding": {"x": task, "y": group},
        "layer": [
            {
                "transform": [
                    of_chosen,
                    {"flatten": ["cosine"]},
                    *named("cosine", ("task", "group", "value")),
                ],
                "mark": "rect",
                "encoding": {
                    "color": {
                        "field": "value",
                        "type": "quantitative",
                        "title": "cosine",
                        "scale": {"scheme": "purpleorange", "domainMid": 0},
                        "legend": {"gradientLength": 80},
                    },
                    **tooltip(["task", "group", ("value", "cosine")]),
                },
            },
            {
                "transform": [
                    of_chosen,
                    {"flatten": ["member"], "as": ["group"]},
                    {"window": [{"op": "row_number", "as": "task"}]},
                ],
                "mark": DOT,
                "encoding": tooltip(["task", ("group", "joined group")]),
            },
        ],
    }


def alphas() -> Spec:
    """Draw the importance of each group, and of each new adapter, after each task."""
    colours = ", ".join(f"'var(--c{i})'" for i in range(1, 7))
    number = "toNumber(split(datum.of, ' ')[1])"
    colour = f"datum.of === 'new' ? 'var(--faint)' : [{colours}][{number} % 6]"
    return {
        "height": 220,
        "padding": {"right": 64, "left": 5, "top": 5, "bottom": 5},  # for the names
        "data": {"name": "groups"},
        "transform": [
            {"filter": "datum.key === chosen"},
            {"flatten": ["alpha"]},
            *named("alpha", ("task", "of", "value")),
            calculate(colour, "colour"),
        ],
        "encoding": {
            "x": task_axis(),
            "y": {"field": "value", "type": "quantitative", "title": "alpha", **NOT_FROM_0},
            "color": {"field": "colour", "type": "nominal", "scale": None},
        },
        "layer": [
            {
                "mark": {"type": "line", "point": {"size": 40}},
                "encoding": {
                    "detail": {"field": "of"},
                    **tooltip(["task", ("of", "alpha of"), "value"]),
                },
            },
            {
                "transform": [
                    {"joinaggregate": [{"op": "max", "field": "task", "as": "last"}]},
                    {"filter": "datum.task === datum.last"},
                ],
                "mark": {"type": "text", "align": "left", "dx": 8, "aria": False},
                "encoding": {"text": {"field": "of"}},
            },
        ],
    }
