"""Two processes never make one run; a dead one holds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from avalanche_ham.reporting.lock import LOCK, RunLock, is_stale


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
