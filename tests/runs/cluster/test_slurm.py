"""A table on a real Slurm: its node is lost, its time runs out, others are more urgent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from avalanche_ham.runs.archive import read_archive
from avalanche_ham.runs.one_run import PROGRESS

pytestmark = pytest.mark.stress
TASKS, PAUSE = 10, 40  # digits has ten classes; seconds
TABLE = [
    "1", "--preset", "smoke", "--benchmark", "digits", "--tasks", str(TASKS), "--methods",
    "lora,ham", "--head", "linear", "--seeds", "1,2", "--device", "cpu", "--threads", "1",
]  # fmt: skip
CLUSTER = ["--cluster", "slurm", "--time", "30"]
# makes jobs last, at no cost, so that there is time for what befalls them
PAUSES = f"""
import os, time
if "SLURM_JOB_ID" in os.environ:
    from avalanche_ham.runs import one_run
    def count_and_pause(folder, count=one_run._count):
        return lambda run: (count(folder)(run), time.sleep({PAUSE}))
    one_run._count = count_and_pause
"""


@pytest.fixture
def paused(tmp_path, monkeypatch):
    """Let jobs pause after each task."""
    (tmp_path / "pauses").mkdir()
    (tmp_path / "pauses" / "sitecustomize.py").write_text(PAUSES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "pauses"), *sys.path]))


def _start(records, *words):
    command = [sys.executable, "-m", "avalanche_ham", "table", *TABLE, "--records", str(records)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *words], **pipes)


def _table(records, *words, code=0):
    process = _start(records, *words)
    out, err = process.communicate(timeout=1500)
    assert process.returncode == code, err
    return out, err


def _slurm(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def _states():
    """Job id -> state, of this test's arrays."""
    lines = _slurm("squeue", "--noheader", "--array", "--format=%i|%j|%T").splitlines()
    rows = [line.split("|") for line in lines]
    return {number: state for number, name, state in rows if name.startswith("ham-")}


def _until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (_states(), _slurm("sinfo"))
        time.sleep(1)


def _done(records):
    """Tasks done of each run that has begun, by its folder."""
    return {path.parent: int(path.read_text() or 0) for path in records.glob(f"*/{PROGRESS}")}


def _spare_the_wait():
    """Let jobs that are queued again start now, not after Slurm's two minutes."""
    for number in _states():
        _slurm("scontrol", "update", f"JobId={number}", "StartTime=now")


def _all_run_and_have_gone_on(records, before):
    counts, states = _done(records), _states().values()
    further = [counts[folder] > before.get(folder, 0) for folder in counts]
    return len(further) == 4 and all(further) and set(states) == {"RUNNING"}


def test_whatever_befalls_the_jobs_records_are_those_of_a_local_run(cluster, paused, tmp_path):
    records = tmp_path / "shared"
    two = [_start(records, "--run", *CLUSTER) for _ in range(2)]
    try:
        _until(lambda: _all_run_and_have_gone_on(records, {}))
        assert len(_states()) == 4
        assert "slurm: 4 running, 0 waiting" in _table(records)[0]

        cluster("kill-node")
        _until(lambda: set(_states().values()) == {"PENDING"})
        before = _done(records)
        cluster("start-node")
        time.sleep(15)  # a node starts no job of a number that it is just being told to kill
        _spare_the_wait()
        _until(lambda: _all_run_and_have_gone_on(records, before))

        ids = sorted(_states())
        first, others = ids[0], ids[1:]
        used = _slurm("squeue", "--noheader", f"--jobs={first}", "--format=%M").split(":")
        limit = int(used[-2]) + 1
        _slurm("scontrol", "update", f"JobId={first}", f"TimeLimit={limit}")
        _until(lambda: _states()[first] == "PENDING", 120)
        _slurm("scontrol", "update", f"JobId={first}", "TimeLimit=30")
        assert all(_states()[other] == "RUNNING" for other in others)
        _slurm(
            "sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
        )
        _until(lambda: set(_states().values()) == {"PENDING"}, 60)
        assert all(0 < done < TASKS for done in _done(records).values())
        assert "slurm: 0 running, 4 waiting" in _table(records)[0]
        _spare_the_wait()
        ends = [process.communicate(timeout=1000) for process in two]
    finally:
        for process in two:
            process.kill()
    assert [process.returncode for process in two] == [0, 0], ends
    words = " ".join(err for _, err in ends)
    assert words.count("4 jobs submitted") == 1
    assert words.count("4 of the runs are in the queue already") == 1
    (log,) = records.glob(f"slurm/*/{first}_0_log.out")
    assert len(re.findall("Starting with JobEnvironment", log.read_text())) == 3
    assert "Caught signal SIGUSR2" in log.read_text()

    local = tmp_path / "local"
    _table(local, "--run", "--jobs", "0")
    ours, theirs = (read_archive(folder).records for folder in (records, local))
    assert len(ours) == 4 and ours.keys() == theirs.keys()
    for identity, found in ours.items():
        assert len(found) == 1
        assert found[0]["accuracy_matrix"] == theirs[identity][0]["accuracy_matrix"]


def test_one_command_cancels_a_tables_jobs_and_the_next_goes_on(cluster, paused, tmp_path):
    _, err = _table(tmp_path / "shared", "--run", "--detach", *CLUSTER, "--parallel", "2", code=3)
    assert "4 jobs submitted" in err
    out, _ = _table(tmp_path / "shared")
    assert re.search(r"slurm: \d running, \d waiting\n", out)
    assert _table(tmp_path / "shared", "--cancel", "--cluster", "slurm")[0] == "4 jobs cancelled\n"
    _until(lambda: not _states(), 60)
    assert "slurm:" not in _table(tmp_path / "shared")[0]


def test_what_the_queue_refuses_is_one_line(cluster, tmp_path):
    process = _start(tmp_path / "shared", "--run", *CLUSTER, "--partition", "none")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "ham: cluster: sbatch: error: invalid partition specified: none" in err
    assert not list(tmp_path.glob("shared/slurm/ham-*"))
