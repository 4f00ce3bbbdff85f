"""Two processes never make one run; a dead one holds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from avalanche_ham import lock
from avalanche_ham.errors import HamError
from avalanche_ham.lock import LOCK, RunLock, is_stale, locked


def test_a_lock_is_held_once_and_given_back(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    assert first.acquire() and not second.acquire()
    first.release()
    assert second.acquire()


def test_only_one_of_many_takes_a_stale_lock(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder = {"pid": gone.pid, "start": "1", "machine": os.uname().nodename}
    for _ in range(5):
        (tmp_path / LOCK).write_text(json.dumps(holder))
        assert is_stale(tmp_path / LOCK)
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda _: RunLock(tmp_path).acquire(), range(8)))
        assert sum(taken) == 1
        (tmp_path / LOCK).unlink()


def test_a_lock_of_another_machine_is_respected_and_a_torn_one_is_not(tmp_path):
    (tmp_path / LOCK).write_text(
        json.dumps({"pid": 1, "start": "", "machine": "elsewhere"})
    )
    assert not RunLock(tmp_path).acquire()
    (tmp_path / LOCK).write_text('{"pid"')
    assert RunLock(tmp_path).acquire()


def test_a_used_again_process_id_does_not_hold_a_lock(tmp_path):
    holder = {"pid": os.getpid(), "start": "0", "machine": os.uname().nodename}
    (tmp_path / LOCK).write_text(json.dumps(holder))
    assert RunLock(tmp_path).acquire()


def test_an_ended_process_that_the_system_still_lists_holds_nothing(tmp_path):
    code = "import sys; from pathlib import Path; from avalanche_ham.lock import RunLock; "
    code += "RunLock(Path(sys.argv[1])).acquire()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as child:
        until, path = time.monotonic() + 60, tmp_path / LOCK
        while not path.exists() or not path.read_text() or not is_stale(path):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == child.pid


def test_a_lock_is_given_back_only_by_the_one_that_took_it(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    assert first.acquire() and not second.acquire()
    second.release()
    assert not second.acquire()


def test_a_file_system_without_locks_of_its_own_has_ours(tmp_path, monkeypatch):
    def unknown(file, kind):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", unknown)
    assert RunLock(tmp_path).acquire() and not RunLock(tmp_path).acquire()


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (os.uname().nodename, "is in use by process {pid}$"),
        ("elsewhere", "is in use by process {pid} on elsewhere; .* remove .*lock$"),
    ],
)
def test_who_holds_a_folder_is_said(tmp_path, machine, said):
    assert RunLock(tmp_path).acquire()
    holder = json.loads((tmp_path / LOCK).read_text())
    (tmp_path / LOCK).write_text(json.dumps({**holder, "machine": machine}))
    with pytest.raises(HamError, match=said.format(pid=os.getpid())), locked(tmp_path):
        pass
    assert (tmp_path / LOCK).exists()


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "new"):
        assert not RunLock(tmp_path / "new").acquire()
        raise KeyboardInterrupt
    assert RunLock(tmp_path / "new").acquire()


def test_without_file_locks_everybody_may_work(tmp_path, monkeypatch):
    monkeypatch.setattr("avalanche_ham.lock.fcntl", None)
    with locked(tmp_path / "out"), locked(tmp_path / "out"):
        assert list((tmp_path / "out").iterdir()) == []
