"""Records: one JSON object per finished run, the only thing that tables and figures read."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avalanche_ham.errors import DataError
from avalanche_ham.runs.files import write_atomically

if TYPE_CHECKING:
    import pandas

PACKAGES = ("avalanche-ham", "avalanche-lib", "torch", "timm", "peft")


def versions() -> dict[str, str]:
    """List the versions that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def append_record(path: Path, *records: dict[str, Any]) -> None:
    """Append records, a line each; killed at any moment, all lines are there or none.

    The file is written anew and renamed, so only one process may append to it at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, allow_nan=False) + "\n" for record in records]
    before = path.read_bytes() if path.exists() else b""
    write_atomically(path, before + "".join(lines).encode())


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the records of one file, or of every ``records.jsonl`` below a folder.

    Raises:
        DataError: if there is nothing to read or a line is no record.
    """
    return [record for _, record in placed_records(path)]


def load_records(path: str | Path) -> pandas.DataFrame:
    """Read records as a data frame, a row each.

    A column per entry; the entries of nested ones have a column of their own, such as
    ``hyperparameters.lr``. Lists (``accuracy_matrix``, ``train_seconds``) stay lists.

    Args:
        path: a ``records.jsonl``, or a folder: every one below it is read.

    Raises:
        DataError: if there is nothing to read or a line is no record.
    """
    import pandas  # takes half a second, which ``ham list`` need not wait for

    return pandas.json_normalize(read_records(Path(path)), max_level=1)


def placed_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records that ``read_records`` gives, each with its file and line number."""
    if not path.exists():
        raise DataError(f"records: {path} does not exist")
    files = sorted(path.rglob("records.jsonl")) if path.is_dir() else [path]
    for file in files:
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            place = f"{file}, line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:  # no JSON, or not even UTF-8
                raise DataError(f"records: {place} is not JSON") from error
            if not isinstance(record, dict) or "method" not in record:
                raise DataError(f"records: {place} is not a record")
            yield place, record
