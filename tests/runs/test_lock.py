"""Two processes never make one run; a dead one holds nothing."""

from __future__ import annotations

import errno
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from avalanche_ham.errors import HamError
from avalanche_ham.runs.lock import LOCK, RunLock, locked

HOLD = """
import sys
from pathlib import Path
from avalanche_ham.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_once_and_given_back(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    assert first.acquire() and not second.acquire()
    assert (tmp_path / LOCK).exists()
    first.release()
    assert not (tmp_path / LOCK).exists()
    assert second.acquire()


def test_another_process_holds_a_folder_until_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:
        assert other.stdout.readline() == "True\n"
        mine = RunLock(tmp_path)
        assert not mine.acquire()
        other.kill()
        other.wait()
        assert (tmp_path / LOCK).exists() and mine.acquire()


def test_only_one_of_many_takes_a_folder(tmp_path):
    for _ in range(20):
        locks = [RunLock(tmp_path) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda lock: lock.acquire(), locks))
        assert sum(taken) == 1
        del locks, taken


def test_a_lock_is_given_back_only_by_the_one_that_took_it(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    assert first.acquire() and not second.acquire()
    second.release()
    assert not second.acquire()


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_serves_one_at_a_time_too(tmp_path, monkeypatch):
    def unknown(file, kind):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unknown)
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    assert first.acquire() and not second.acquire()
    first.release()
    assert list(tmp_path.iterdir()) == [] and second.acquire()
    second.release()


def test_a_folder_is_free_again_after_an_error(tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(KeyboardInterrupt), locked(folder):
        with pytest.raises(HamError, match=f"out: {folder} is in use by another process$"):
            with locked(folder):
                pass
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []
    assert RunLock(folder).acquire()
