"""A file's content is told by a digest, read again only when the file may have changed."""

from __future__ import annotations

import hashlib
import os

import pytest

from avalanche_ham.benchmarks import _image_digests
from avalanche_ham.benchmarks._image_digests import file_digests
from avalanche_ham.errors import DataError


@pytest.fixture
def read(monkeypatch):
    """Collect the names of the files that are read."""
    names, original = [], _image_digests._digest

    def spy(path):
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(_image_digests, "_digest", spy)
    return names


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files that changed long ago, and where their digests are remembered."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in (("a", b"one"), ("b", b"two")):
        (folder / name).write_bytes(content)
    monkeypatch.setattr(_image_digests, "SETTLED_NS", -(10**12))  # as if that were long ago
    return folder, tmp_path / "memory"


def digests(files, *names):
    folder, memory = files
    return file_digests(folder, list(names or ("a", "b")), memory)


def test_a_digest_is_that_of_the_bytes(files):
    assert digests(files) == [hashlib.sha256(c).hexdigest()[:32] for c in (b"one", b"two")]


def test_a_file_that_has_not_changed_is_read_once(files, read):
    assert digests(files) == digests(files)
    assert sorted(read) == ["a", "b"]


def test_a_change_of_the_same_size_and_time_is_noticed(files, read):
    before, path = digests(files), files[0] / "a"
    status = path.stat()
    path.write_bytes(b"six")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = digests(files)
    assert after[0] != before[0] and after[1] == before[1]
    assert sorted(read) == ["a", "a", "b"]


def test_another_file_under_the_same_name_is_noticed(files):
    before = digests(files)
    (files[0] / "a").replace(files[0] / "c")
    (files[0] / "b").replace(files[0] / "a")
    assert digests(files, "a") == before[1:]


def test_a_file_that_changed_just_now_is_not_remembered(files, read, monkeypatch):
    monkeypatch.setattr(_image_digests, "SETTLED_NS", 10**12)
    digests(files)
    digests(files)
    assert sorted(read) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 3}', b'{"a": [1, 2, 3, 4, 5]}'])
def test_a_damaged_memory_is_made_again(files, content):
    before = digests(files)
    (place,) = files[1].iterdir()
    place.write_bytes(content)
    assert digests(files) == before


def test_a_memory_that_cannot_be_written_costs_only_time(files, read):
    files[1].write_bytes(b"a file in its place")
    assert digests(files) == digests(files)
    assert len(read) == 4


def test_a_missing_file_is_named(files):
    with pytest.raises(DataError, match="files/none is missing"):
        digests(files, "none")
