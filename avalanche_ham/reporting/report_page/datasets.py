"""What the charts draw: plain lists that a page can carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from avalanche_ham.evaluation.metrics import accuracy_so_far, forgetting_so_far
from avalanche_ham.reporting.report_page.estimate import estimate
from avalanche_ham.reporting.report_page.provenance import provenance
from avalanche_ham.reporting.report_page.quantities import COSTS, METRICS
from avalanche_ham.reporting.report_page.rows import Row
from avalanche_ham.runs.records import Record

Data = list[dict[str, Any]]


def datasets(rows: Sequence[Row]) -> dict[str, Data]:
    """Give the data of the charts by name.

    ``rows``: metrics with intervals and costs; ``seeds``: each run with its provenance;
    ``matrices``: mean accuracy, in per mille, row after row of the triangle; ``curves``: metrics
    after each task; ``groups``: of HAM's first seed, see ``_groups``.
    """
    return {
        "rows": [_summary(row) for row in rows],
        "seeds": [seed for row in rows for seed in _seeds(row)],
        "matrices": [{"key": row.key, "a": _triangle(row)} for row in rows],
        "curves": [_curve(row) for row in rows],
        "groups": [_groups(row) for row in rows if has_groups(row)],
    }


def has_groups(row: Row) -> bool:
    """Whether its runs put adapters into groups, as HAM does."""
    found = row.records[0]["groups"]
    return isinstance(found, dict) and {"members", "similarities", "alphas"} <= set(found)


def _about(row: Row) -> dict[str, Any]:
    return {"key": row.key, "site": row.site.key, "label": row.label}


def _summary(row: Row) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "family": row.site.family,
        "tasks": row.site.entries["n_tasks"],
        "seeds": len(row.runs),
    }
    for name, metric in METRICS.items():
        found = estimate(row.records, metric.read)
        numbers[name] = _short(found.mean)
        numbers[f"{name}_low"], numbers[f"{name}_high"] = _short(found.low), _short(found.high)
        numbers[f"{name}_words"] = found.words(metric.digits)
    for name, cost in COSTS.items():
        numbers[name] = _short(estimate(row.records, cost.read).mean)
    return {**_about(row), **numbers}


def _seeds(row: Row) -> Iterable[dict[str, Any]]:
    for run in row.runs:
        scores = {name: _short(metric.read(run.record)) for name, metric in METRICS.items()}
        yield {**_about(row), **scores, **provenance(run)}


def _triangle(row: Row) -> list[int | None]:
    """Give the lower triangle of the mean accuracy matrix, in per mille."""
    mean = np.mean([_matrix(record) for record in row.records], axis=0)
    known = mean[np.tril_indices(len(mean))]
    return [None if np.isnan(value) else round(1000 * value) for value in known]


def _matrix(record: Record) -> np.ndarray:
    return np.array(record["accuracy_matrix"], dtype=np.float64)  # None becomes NaN


def _curve(row: Row) -> dict[str, Any]:
    curves = {"fm": forgetting_so_far, "aa": accuracy_so_far}
    found = {
        name: np.mean([after(record["accuracy_matrix"]) for record in row.records], axis=0)
        for name, after in curves.items()
    }
    numbers = {
        name: [None if np.isnan(value) else _short(value) for value in curve]
        for name, curve in found.items()
    }
    return {**_about(row), "task": list(range(1, row.site.entries["n_tasks"] + 1)), **numbers}


def _groups(row: Row) -> dict[str, Any]:
    """Give groups and alphas after each task, of the first seed.

    ``member``: the group that each task's adapter joined; ``cosine``: triples of task, group and
    cosine of the new adapter with the group; ``alpha``: triples of task, what it is of and its
    value.
    """
    record = row.records[0]
    groups = record["groups"]
    ends = [entry["end"] for entry in groups["alphas"]]
    return {
        "key": row.key,
        "seed": record["seed"],
        "member": groups["members"],
        "cosine": [
            [task, group, round(value, 4)]
            for task, values in enumerate(groups["similarities"], 1)
            for group, value in enumerate(values)
        ],
        "alpha": [
            [task, name, round(value, 4)]
            for task, values in enumerate(ends, 1)
            for name, value in zip([*map("group {}".format, range(len(values) - 1)), "new"], values)
        ],
    }


def _short(value: float | None) -> float | None:
    """Round to what a page can show."""
    return None if value is None else float(f"{value:.5g}")
