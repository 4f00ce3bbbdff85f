"""What the charts have in common: conditions on the page's controls, colours, axes, tooltips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Spec = dict[str, Any]

HERE = "datum.site === site"
FOUND = "indexof(lower(datum.label), lower(search)) >= 0"
CHOSEN = {"test": "datum.key === chosen", "value": "var(--accent)"}
COLOUR = {"condition": CHOSEN, "value": "var(--other)"}
ON_TOP = {"condition": {"test": CHOSEN["test"], "value": 1}, "value": 0.7}
NOT_FROM_0 = {"scale": {"zero": False}}
PROVENANCE = ("seed", "record", "date", "commit", "made on", "versions")


def calculate(formula: str, name: str) -> Spec:
    """Give a new field a formula."""
    return {"calculate": formula, "as": name}


def named(of: str, names: Iterable[str]) -> list[Spec]:
    """Give the parts of a tuple names."""
    return [calculate(f"datum.{of}[{i}]", name) for i, name in enumerate(names)]


def tooltip(fields: Iterable[str | tuple[str, str]]) -> Spec:
    """Show fields on hover, each under its own name or the one given beside it."""
    pairs = [field if isinstance(field, tuple) else (field, field) for field in fields]
    return {"tooltip": [{"field": field, "title": title} for field, title in pairs]}


def ticks() -> Spec:
    """Label squares, not the lines between them."""
    return {"labelOverlap": True, "labelAngle": 0, "grid": False, "ticks": False}


def task_axis() -> Spec:
    """Count tasks as whole numbers."""
    return {
        "field": "task",
        "type": "quantitative",
        "title": "after task",
        "axis": {"tickMinStep": 1, "format": "d"},
        "scale": {"zero": False, "nice": False},
    }
