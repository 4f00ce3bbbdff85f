"""Records: one whole line each, whatever happens, and read back as they were."""

from __future__ import annotations

import json
import os

import pytest
from made_up_records import made_up

from avalanche_ham.errors import DataError
from avalanche_ham.runs import records
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.records import (
    Record,
    append_record,
    load_records,
    read_records,
    seconds_of,
)
from avalanche_ham.runs.runner import run

CONFIG = RunConfig("ham", "digits", n_tasks=2, preset="smoke")


def record(name: str, **values) -> dict:
    return made_up(CONFIG, **{"method": name, "aa": 100 / 3, **values})


def test_records_come_back_as_they_were_in_order(tmp_path):
    path = tmp_path / "deep" / "records.jsonl"
    for name in ("ham", "lora"):
        append_record(path, record(name))
    assert read_records(path) == [record("ham"), record("lora")]
    assert path.read_bytes().count(b"\n") == 2


def test_all_records_below_a_folder_are_read_in_the_order_of_their_paths(tmp_path):
    for name in ("b/1", "a/2", "a/1"):
        append_record(tmp_path / name / "records.jsonl", record(name))
    append_record(tmp_path / "a" / "3tasks-cpu.jsonl", record("a/3"))
    assert [r["method"] for r in read_records(tmp_path)] == ["a/1", "a/2", "a/3", "b/1"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_append_that_is_cut_short_leaves_the_lines_before_it(tmp_path, monkeypatch, call):
    path = tmp_path / "records.jsonl"
    append_record(path, record("first"))

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, call, die)
        with pytest.raises(KeyboardInterrupt):
            append_record(path, record("second"))
    assert read_records(path) == [record("first")]
    append_record(path, record("second"))
    assert read_records(path) == [record("first"), record("second")]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_record_with_a_number_that_json_lacks_is_never_written(tmp_path, value):
    path = tmp_path / "records.jsonl"
    with pytest.raises(ValueError, match="JSON"):
        append_record(path, {"method": "ham", "aa": value})
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"method": "ham"', " is not JSON"),
        ("[1, 2]", ": the whole: Input should be an object"),
        ('{"a": 1}', ": method: Field required"),
        ("", " is not JSON"),
        (b'{"method": "\xe4"}', " is not JSON"),  # Latin-1
    ],
)
def test_a_line_that_is_no_record_is_refused_with_its_number(tmp_path, text, message):
    path = tmp_path / "records.jsonl"
    line = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(json.dumps(record("ham")).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=f"records.jsonl, line 2{message}"):
        read_records(path)


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_records(tmp_path / "none")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("aa", float("nan")),
        ("aa", "50"),
        ("seed", -1),
        ("hyperparameters", None),
        ("accuracy_matrix", [[0.5, None], [1.5, 0.5]]),
        ("accuracy_matrix", [[0.5, None], [0.5]]),
        ("accuracy_matrix", [[0.5]]),
        ("train_seconds", []),
        ("test_images", [0, 3]),
        ("selection", "train"),
    ],
)
def test_a_value_outside_the_schema_is_refused_with_its_name(tmp_path, entry, value):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(record("ham", **{entry: value})) + "\n")
    with pytest.raises(DataError, match=f"line 1: ({entry}|the matrix)"):
        read_records(path)


def test_a_real_record_fits_the_schema_and_the_schema_fits_it(tmp_path):
    found = run(CONFIG, Resources(device="cpu"), out=tmp_path, show=False)
    assert set(found) == set(Record.__annotations__)
    assert read_records(tmp_path) == [found]


def test_a_data_frame_has_a_row_per_record_and_a_column_per_setting(tmp_path):
    for name, lr in (("a", 1e-3), ("b", 5e-3)):
        found = record(name, aa=50.0, hyperparameters={"lr": lr}, test_images=[3, 4])
        append_record(tmp_path / name / "records.jsonl", found)
    frame = load_records(str(tmp_path))
    assert frame["method"].tolist() == ["a", "b"]
    assert frame["hyperparameters.lr"].tolist() == [1e-3, 5e-3]
    assert frame["test_images"].tolist() == [[3, 4], [3, 4]]
    best = frame.sort_values("hyperparameters.lr").iloc[-1]
    assert (best["method"], best["aa"]) == ("b", 50.0)


def test_the_seconds_of_a_run_are_all_that_it_spent():
    parts = {"train": [1.0, 2.0], "feed": [0.5, 0.25], "drift": [4.0, 0.0], "eval": [8.0, 16.0]}
    record = {f"{part}_seconds": seconds for part, seconds in parts.items()}
    assert seconds_of(record) == 31.75


@pytest.mark.parametrize(
    "entry, value", [("aa", 100.1), ("aaa", -1.0), ("bwt", -100.1), ("fm", 1e9)]
)
def test_a_percentage_that_cannot_be_is_refused_with_its_name(tmp_path, entry, value):
    append_record(tmp_path / "records.jsonl", record("ham", **{entry: value}))
    with pytest.raises(DataError, match=f"records.jsonl, line 1: {entry}: Input should be"):
        read_records(tmp_path)


def test_a_folder_that_cannot_be_read_is_named_and_not_left_out(tmp_path, monkeypatch):
    append_record(tmp_path / "a" / "records.jsonl", record("ham"))
    append_record(tmp_path / "b" / "records.jsonl", record("lora"))
    scan = os.scandir

    def refused(path):
        if os.fspath(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DataError, match=f"records: {tmp_path}/b cannot be read .Permission denied"):
        read_records(tmp_path)


def test_endless_records_are_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="pipe.jsonl cannot be read .it is a pipe or a device"):
        read_records(tmp_path)
    (tmp_path / "pipe.jsonl").unlink()
    with open(tmp_path / "long.jsonl", "wb") as file:
        file.truncate(records.LONGEST * 2)
    with pytest.raises(DataError, match="long.jsonl, line 1 is longer than 64 MiB"):
        read_records(tmp_path)
