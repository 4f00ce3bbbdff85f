"""Records: one JSON object per finished run and head, the only thing that tables read.

``Record`` is their schema; every line is checked against it when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from avalanche_ham.errors import DataError, check_path
from avalanche_ham.files import open_regular, read_regular, write_whole

if TYPE_CHECKING:
    import pandas

RECORDS = "records.jsonl"
SUFFIX = ".jsonl"
LONGEST = 2**26  # bytes of a line; a record of a thousand tasks has less than half of it

TOLERANCE = 1e-6  # of sums, in percent
Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=-TOLERANCE, le=100 + TOLERANCE)]
Change = Annotated[float, Field(ge=-100 - TOLERANCE, le=100 + TOLERANCE)]


def _square(rows: list[list[float | None]]) -> list[list[float | None]]:
    """Refuse a matrix that is not square."""
    if not rows or any(len(row) != len(rows) for row in rows):
        raise ValueError(f"must be T rows of T, but has {[len(row) for row in rows]}")
    return rows


Matrix = Annotated[list[list[Fraction | None]], AfterValidator(_square)]


class Record(TypedDict):
    """What a finished run says of one of its heads.

    The accuracy matrix is the source of ``aa``, ``fm``, ``bwt`` and ``aaa`` (percent). Lists over
    tasks have an entry per task, ``joint`` one. What is undefined or was not measured is null.

    Attributes:
        numbers_version: of what the method computes; an older one is another run.
        weights_digest, images_digest, class_order_hash: see ``runs.identity.Digests``.
        selection: ``test`` images, or ``holdout`` training images for choosing settings.
        segments: where and with what it was computed, if a run was continued elsewhere.
        right: which test image of the last row was right, see ``runs.packed.unpack``.
        stem_cache: whether a frozen stem's stored outputs took the images' place.
        feed_seconds: of feeding readouts; ``drift_seconds`` of following the drift.
        memory_bytes: of stored images, or of a frozen stem's outputs in their place.
        probed: means of what else was measured beside ``a_t``, such as ``trimmed``: the same after
            TIES' trimming, from task 2 on; ``a_t_where_trimmed`` is ``a_t`` over those tasks.
        right_picks: for each task, the share of its images that get its own expert (DualPrompt).
    """

    __pydantic_config__ = ConfigDict(allow_inf_nan=False, extra="allow", strict=True)  # type: ignore[misc]

    method: str
    head: str
    benchmark: str
    n_tasks: Annotated[int, Field(ge=1)]
    seed: Count
    preset: str
    backbone: str
    image_size: int | None
    hyperparameters: dict[str, Any]
    numbers_version: Annotated[int, Field(ge=1)]
    weights_digest: str | None
    images_digest: str | None
    class_order_hash: str
    scope: Annotated[list[str], Field(min_length=1)]
    selection: Literal["test", "holdout"]
    versions: dict[str, str]
    commit: str | None
    clean: bool | None
    date: str | None
    device: str
    processor: str | None
    threads: int | None
    precision: str
    segments: list[dict[str, Any]]
    test_images: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    accuracy_matrix: Matrix
    accuracy_task_known: Matrix
    right: str | None
    aa: Percent | None
    fm: Change | None
    bwt: Change | None
    aaa: Percent | None
    fwt: Change | None
    a_t: Percent | None
    a_t_merged: Percent | None
    train_seconds: Annotated[list[Seconds], Field(min_length=1)]
    feed_seconds: list[Seconds]
    drift_seconds: list[Seconds]
    eval_seconds: Annotated[list[Seconds], Field(min_length=1)]
    trainable_parameters: list[Count]
    stored_parameters: Annotated[list[Count], Field(min_length=1)]
    memory_bytes: Count
    peak_memory_mb: Annotated[float, Field(ge=0)]
    groups: Any
    hierarchy: dict[str, Any] | None
    stem_cache: NotRequired[bool]
    right_picks: NotRequired[list[Fraction] | None]
    probed: NotRequired[dict[str, float]]


@lru_cache(maxsize=1)
def _schema() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def parse_record(line: bytes | str, place: str) -> Record:
    """Read one line.

    Args:
        line: JSON.
        place: where it stands, for the message.

    Raises:
        DataError: if it is no record; the message names the first entry that is wrong.
    """
    try:
        record = _schema().validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise DataError(f"records: {place} is not JSON") from error
        entry = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"records: {place}: {entry}: {first['msg']}") from error
    lengths = {len(record["accuracy_matrix"]), len(record["test_images"])}
    if lengths != {record["n_tasks"]}:
        raise DataError(f"records: {place}: the matrix is not one of {record['n_tasks']} tasks")
    return record


def seconds_of(record: Mapping[str, Any]) -> float:
    """Give the seconds of a run: training, feeding readouts and evaluating, of all its heads."""
    return sum(sum(record[f"{part}_seconds"]) for part in ("train", "feed", "drift", "eval"))


def lacks(record: Mapping[str, Any], entries: Iterable[str]) -> bool:
    """Whether a run could have measured one of these entries and did not.

    Args:
        record: of a finished run.
        entries: names, such as ``fwt`` and ``a_t``, which only runs with probes have. ``a_t`` is
            of the trained head; nothing is asked of one task or of all tasks at once.
    """
    if record["n_tasks"] == 1 or len(record["train_seconds"]) < record["n_tasks"]:
        return False
    asked = [name for name in entries if name != "a_t" or record["head"] == "linear"]
    return any(record[name] is None for name in asked)


def append_record(path: Path, *records: Record) -> None:
    """Append records, as ``write_records`` does; only one process may at a time."""
    write_records(path, *records, before=read_regular(path) if path.exists() else b"")


def write_records(path: Path, *records: Record, before: bytes = b"") -> None:
    """Write a file of records, a line each; killed at any moment, all lines are there or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, allow_nan=False) + "\n" for record in records]
    write_whole(path, before + "".join(lines).encode())


def read_records(path: Path) -> list[Record]:
    """Read the records of one file, or of every ``*.jsonl`` below a folder.

    Raises:
        DataError: if there is nothing to read or a line is no record.
    """
    return [record for _, record in placed_records(path)]


def load_records(path: str | Path) -> pandas.DataFrame:
    """Read records as a data frame, a row each.

    A column per entry; the entries of nested ones have a column of their own, such as
    ``hyperparameters.lr``. Lists (``accuracy_matrix``, ``train_seconds``) stay lists.

    Args:
        path: a file of records, or a folder: every ``*.jsonl`` below it is read.

    Raises:
        DataError: if there is nothing to read or a line is no record.
    """
    import pandas  # takes half a second, which ``ham list`` need not wait for

    return pandas.json_normalize(
        [dict(r) for r in read_records(check_path("path", path))], max_level=1
    )


def placed_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield the records that ``read_records`` gives, each with its file and line number."""
    if not path.exists():
        raise DataError(f"records: {path} does not exist")
    for file in files_below(path, SUFFIX) if path.is_dir() else [path]:
        try:
            with open_regular(file) as lines:
                yield from _placed(file, iter(lambda: lines.readline(LONGEST + 1), b""))
        except OSError as error:
            raise DataError(f"records: {file} cannot be read ({error.strerror})") from error


def _placed(file: Path, lines: Iterator[bytes]) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(lines, 1):
        place = f"{file}, line {number}"
        if len(line) > LONGEST:
            raise DataError(f"records: {place} is longer than {LONGEST / 2**20:g} MiB")
        yield place, parse_record(line.rstrip(b"\r\n"), place)


def files_below(folder: Path, ending: str) -> list[Path]:
    """Find the files below a folder whose names end so, in path order.

    Raises:
        DataError: naming a folder that cannot be read; its records would be missed.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"records: {error.filename} cannot be read ({error.strerror})") from error

    walk = os.walk(folder, onerror=refuse)
    return sorted(Path(p, name) for p, _, names in walk for name in names if name.endswith(ending))
