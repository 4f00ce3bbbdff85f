"""Records: one whole line each, whatever happens, and read back as they were."""

from __future__ import annotations

import json
import os

import pytest

from avalanche_ham.errors import DataError
from avalanche_ham.runs.records import (
    append_record,
    load_records,
    read_records,
    versions,
)


def record(name: str) -> dict:
    return {"method": name, "accuracy_matrix": [[0.1, None], [1 / 3, 0.7]], "seed": 1}


def test_records_come_back_as_they_were_in_order(tmp_path):
    path = tmp_path / "deep" / "records.jsonl"
    for name in ("ham", "lora"):
        append_record(path, record(name))
    assert read_records(path) == [record("ham"), record("lora")]
    assert path.read_bytes().count(b"\n") == 2


def test_all_records_below_a_folder_are_read_in_the_order_of_their_paths(tmp_path):
    for name in ("b/1", "a/2", "a/1"):
        append_record(tmp_path / name / "records.jsonl", record(name))
    append_record(tmp_path / "a" / "other.jsonl", record("not read"))
    assert [r["method"] for r in read_records(tmp_path)] == ["a/1", "a/2", "b/1"]


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
        ('{"method": "ham"', "is not JSON"),
        ("[1, 2]", "is not a record"),
        ('{"a": 1}', "is not a"),
        ("", "is not JSON"),
        (b'{"method": "\xe4"}', "is not JSON"),  # Latin-1
    ],
)
def test_a_line_that_is_no_record_is_refused_with_its_number(tmp_path, text, message):
    path = tmp_path / "records.jsonl"
    line = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(json.dumps(record("ham")).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=f"records.jsonl, line 2 {message}"):
        read_records(path)


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_records(tmp_path / "none")


def test_versions_name_what_a_result_may_depend_on():
    found = versions()
    assert {"python", "avalanche-lib", "torch", "timm", "peft"} <= set(found)
    assert found["torch"].startswith("2.") and found["avalanche-lib"].startswith("0.")


def test_a_data_frame_has_a_row_per_record_and_a_column_per_setting(tmp_path):
    for name, lr in (("a", 1e-3), ("b", 5e-3)):
        record = {"method": name, "aa": 50.0, "hyperparameters": {"lr": lr}, "rows": [[1.0]]}
        append_record(tmp_path / name / "records.jsonl", record)
    frame = load_records(str(tmp_path))
    assert frame["method"].tolist() == ["a", "b"]
    assert frame["hyperparameters.lr"].tolist() == [1e-3, 5e-3]
    assert frame["rows"].tolist() == [[[1.0]], [[1.0]]]
    best = frame.sort_values("hyperparameters.lr").iloc[-1]
    assert (best["method"], best["aa"]) == ("b", 50.0)
