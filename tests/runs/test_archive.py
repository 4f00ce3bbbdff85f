"""What is read below a folder, whatever else lies there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.errors import DataError
from avalanche_ham.runs.archive import check_one_origin, read_archive
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.identity import identity_in
from avalanche_ham.runs.records import Record
from avalanche_ham.strategies.registry import METHODS

CONFIG = RunConfig(method="ham", benchmark="digits", n_tasks=2, preset="smoke")


@pytest.mark.parametrize(
    "key", sorted(k for k, kind in Record.__annotations__.items() if "NotRequired" not in str(kind))
)
def test_a_record_that_lacks_an_entry_is_refused_with_its_line(shelf, key):
    shelf.put(CONFIG)
    (path,) = shelf.folder.rglob("records.jsonl")
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(path.read_text() + json.dumps(record) + "\n")
    with pytest.raises(DataError, match=f"records.jsonl, line 2: {key}: Field required"):
        read_archive(shelf.folder)


def test_records_on_other_weights_or_images_are_refused_in_one_table(archive_of):
    ham, lora = CONFIG, replace(CONFIG, method="lora")
    check_one_origin([ham, lora], archive_of((ham, {}), (lora, {})))
    for key, name in (("weights_digest", "weights of tiny"), ("images_digest", "images of digits")):
        archive = archive_of((ham, {}), (lora, {key: "sha256-2"}))
        with pytest.raises(DataError, match=f"different {name}.*sha256-2 .1 records.*folder"):
            check_one_origin([ham, lora], archive)
        check_one_origin([ham], archive)
    other_seed = replace(lora, seed=2)  # draws other images
    check_one_origin([ham, other_seed], archive_of((ham, {}), (other_seed, {"images_digest": "2"})))


def test_a_record_of_an_older_version_of_the_numbers_is_stale(archive_of, monkeypatch):
    archive = archive_of((CONFIG, {}))
    assert archive.record(CONFIG) and not archive.stale(CONFIG)
    monkeypatch.setitem(METHODS, "ham", METHODS["ham"]._replace(numbers=METHODS["ham"].numbers + 1))
    assert archive.record(CONFIG) is None and archive.stale(CONFIG) == 1


def test_where_images_are_at_hand_only_a_record_on_them_answers(archive_of):
    archive = archive_of((CONFIG, {}), (CONFIG, {"images_digest": "sha256-2", "aa": 7.0}))
    assert archive.record(CONFIG)["aa"] == 50.0
    found = identity_in(archive.found(CONFIG)[1])
    archive.digests[found.training] = found.digests
    assert archive.record(CONFIG)["aa"] == 7.0
    archive.digests[found.training] = found.digests._replace(classes="another order")
    assert archive.record(CONFIG) is None


def _damage(text: str, damage: str) -> str:
    note = json.loads(text)
    if damage == "no error":
        del note["error"]
    elif damage == "a list as its seed":
        note["identity"]["seed"] = [1]
    else:
        return damage
    return json.dumps(note)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "{}", "no error", "a list as its seed"],
)
def test_a_note_of_failure_that_cannot_be_read_is_left_out(shelf, damage):
    shelf.fail(CONFIG)
    (path,) = shelf.folder.rglob("failure.json")
    assert read_archive(shelf.folder).failure(CONFIG)
    path.write_text(_damage(path.read_text(), damage))
    with pytest.warns(UserWarning, match="failure.json is no note of a failed run"):
        archive = read_archive(shelf.folder)
    assert archive.failures == {}


def test_the_command_says_which_line_is_damaged(shelf, capsys):
    shelf.put(CONFIG, scope=[])
    assert main(["table", "methods", "--records", str(shelf.folder)]) == 2
    printed, error = capsys.readouterr()
    assert printed == "" and error.count("\n") == 1
    assert "records.jsonl, line 1: scope: List should have at least 1 item" in error
