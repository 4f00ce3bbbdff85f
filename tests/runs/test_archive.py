"""What is read below a folder, whatever else lies there."""

from __future__ import annotations

import json

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.errors import DataError
from avalanche_ham.runs.archive import ENTRIES, LISTS, read_archive
from avalanche_ham.runs.config import RunConfig

CONFIG = RunConfig(method="ham", benchmark="digits", n_tasks=2, preset="smoke")


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, None) for key in (*ENTRIES, *LISTS)] + [(key, []) for key in LISTS],
)
def test_a_record_that_lacks_an_entry_is_refused_with_its_line(shelf, key, value):
    shelf.put(CONFIG)
    (path,) = shelf.folder.rglob("records.jsonl")
    record = {**json.loads(path.read_text()), key: value}
    if value is None:
        del record[key]
    path.write_text(path.read_text() + json.dumps(record) + "\n")
    with pytest.raises(DataError, match=f"records.jsonl, line 2 lacks {key}$"):
        read_archive(shelf.folder)


@pytest.mark.parametrize(("key", "value"), [("seed", [1]), ("hyperparameters", None)])
def test_a_record_whose_settings_are_none_is_refused(shelf, key, value):
    shelf.put(CONFIG, **{key: value})
    with pytest.raises(DataError, match="line 1 is not a record"):
        read_archive(shelf.folder)


def _damage(text: str, damage: str) -> str:
    note = json.loads(text)
    if damage == "a field of a later version":
        note["identity"]["flavour"] = "sour"
    elif damage == "no error":
        del note["error"]
    elif damage == "a list as its seed":
        note["identity"]["seed"] = [1]
    else:
        return damage
    return json.dumps(note)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "{}", "a field of a later version", "no error", "a list as its seed"],
)
def test_a_note_of_failure_that_cannot_be_read_is_left_out(shelf, damage):
    shelf.fail(CONFIG)
    (path,) = shelf.folder.rglob("failure.json")
    assert read_archive(shelf.folder).failure(CONFIG)
    path.write_text(_damage(path.read_text(), damage))
    with pytest.warns(UserWarning, match="failure.json is no note of a failed run"):
        archive = read_archive(shelf.folder)
    assert archive.failures == {}


def test_a_note_of_failure_from_before_images_had_a_name_still_counts(shelf):
    shelf.fail(CONFIG)
    (path,) = shelf.folder.rglob("failure.json")
    note = json.loads(path.read_text())
    del note["identity"]["data"]
    path.write_text(json.dumps(note))
    assert read_archive(shelf.folder).failure(CONFIG)["error"] == "out of memory"


def test_the_command_says_which_line_is_damaged(shelf, capsys):
    shelf.put(CONFIG, scope=[])
    assert main(["table", "methods", "--records", str(shelf.folder)]) == 2
    printed, error = capsys.readouterr()
    assert printed == "" and error.count("\n") == 1
    assert "records.jsonl, line 1 lacks scope" in error
