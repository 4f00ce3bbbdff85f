"""Files and folders are there whole or not at all; odd ones are refused, not waited for."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from avalanche_ham.files import (
    open_regular,
    read_regular,
    remove_abandoned,
    whole_file,
    whole_folder,
    write_whole,
)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    write_whole(tmp_path / "a", b"old")
    with whole_file(tmp_path / "a") as file:
        file.write(b"new")
        assert (tmp_path / "a").read_bytes() == b"old"
        assert len(names(tmp_path)) == 2
    assert (tmp_path / "a").read_bytes() == b"new" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, call):
    write_whole(tmp_path / "a", b"old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_a_new_file_is_as_readable_as_any_other(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a", b"")
        with whole_folder(tmp_path / "b") as folder:
            write_whole(folder / "c", b"")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b", "b/c")]
    assert modes == [0o644, 0o755, 0o644]


def test_links_are_replaced_and_what_they_name_stays(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / "a").symlink_to(tmp_path / "other")
    write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "other").read_text() == "mine" and not (tmp_path / "a").is_symlink()


def test_the_name_of_a_partial_file_cannot_be_guessed(tmp_path):
    seen = set()
    for _ in range(20):
        with whole_file(tmp_path / "a"):
            seen |= {name for name in names(tmp_path) if name.endswith(".partial")}
    assert len(seen) == 20


def test_the_file_its_content_and_its_name_reach_the_disk_in_that_order(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def synced(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def renamed(*args):
        done.append("name")
        replace(*args)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_whole(tmp_path / "a", b"x")
    assert done == ["file", "name", "folder"]


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    (tmp_path / "to").mkdir()  # an empty one may be there
    with whole_folder(tmp_path / "to") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_text("1")
        assert list((tmp_path / "to").iterdir()) == []
    assert (tmp_path / "to" / "deep" / "x").read_text() == "1" and names(tmp_path) == ["to"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "to") as folder:
        (folder / "x").write_text("1")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_only_what_is_long_dead_is_removed(tmp_path):
    for name in ("old.partial", "young.partial", "other"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.partial").mkdir()
    for name in ("old.partial", "folder.partial"):
        os.utime(tmp_path / name, (1, 1))
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ["other", "young.partial"]
    remove_abandoned(tmp_path, seconds=0)
    assert names(tmp_path) == ["other"]


def test_pipes_devices_folders_and_giants_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for place in (tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(OSError, match="it is a pipe or a device"):
            read_regular(place)
    with pytest.raises(OSError, match="it is a folder"):
        open_regular(tmp_path)
    with open(tmp_path / "giant", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="larger than 1 MiB"):
        read_regular(tmp_path / "giant", limit=2**20)
    (tmp_path / "small").write_bytes(b"x")
    assert read_regular(tmp_path / "small", limit=1) == b"x"
