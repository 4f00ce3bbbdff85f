"""Where a record comes from, in words."""

from __future__ import annotations

from typing import Any

from avalanche_ham.reporting.report_page.rows import Placed
from avalanche_ham.runs.option import as_word
from avalanche_ham.runs.records import Record

UNKNOWN = "not on record"


def provenance(run: Placed) -> dict[str, str | int]:
    """Say which run a record is of, and how and where it was made."""
    record = run.record
    return {
        "seed": record["seed"],
        "record": run.where,
        "date": record["date"] or UNKNOWN,
        "commit": _commit(record),
        "made on": _machine(record),
        "versions": _versions(record),
    }


def options(record: Record) -> str:
    """Write a record's hyper-parameters, such as ``"keep 0.6, lr 0.0005"``."""
    values = sorted(record["hyperparameters"].items())
    return ", ".join(f"{name} {as_word(value)}" for name, value in values)


def described(site: dict[str, Any]) -> str:
    """Write what all runs of a site have in common."""
    known = {name: value for name, value in site.items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {as_word(value)}" for name, value in known.items())


def _commit(record: Record) -> str:
    if record["commit"] is None:
        return UNKNOWN
    return record["commit"][:12] + ("" if record["clean"] else ", with changes")


def _machine(record: Record) -> str:
    parts = [record["processor"] or record["device"], record["precision"]]
    if record["threads"] is not None:
        parts.append(f"{record['threads']} threads")
    if record["segments"]:
        parts.append(f"continued {len(record['segments']) - 1} times")
    return ", ".join(parts)


def _versions(record: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in record["versions"].items())
