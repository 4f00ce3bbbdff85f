"""What a job asks for: Slurm's forms of a time, and what is refused."""

from __future__ import annotations

import pytest

from avalanche_ham.errors import HamError
from avalanche_ham.runs.cluster.request import Request, minutes_of


@pytest.mark.parametrize(
    "time, minutes",
    [("90", 90), ("2:30", 3), ("4:00:00", 240), ("1-0", 1440), ("1-02:30", 1590),
     ("2-00:00:01", 2881), ("0:30", 1)],
)  # fmt: skip
def test_times_are_read_as_sbatch_reads_them(time, minutes):
    assert minutes_of(time) == minutes


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"time": "2h"}, "time must be minutes, h:mm:ss, d-h or d-h:mm:ss, but got '2h'"),
        ({"time": "0"}, "time must be at least 1"),
        ({"gpus": "0"}, "gpus must be a number or TYPE:NUMBER, but got '0'"),
        ({"mem": "much"}, "mem must be a number with K, M, G or T behind, but got 'much'"),
        ({"parallel": 0}, "parallel must be at least 1"),
        ({"extra": {"time": "3"}}, "slurm-time: say --time"),
        ({"extra": {"array": "0-3"}}, "slurm-array: is set by ham"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(wrong, said):
    with pytest.raises(HamError, match=said):
        Request(**wrong)


def test_only_what_was_asked_for_reaches_sbatch():
    assert Request().options() == {"requeue": True}
    asked = Request(partition="gpu", gpus="a100:2", mem="16G", cpus=8, extra={"exclusive": True})
    assert asked.options() == {
        "partition": "gpu",
        "gpus-per-node": "a100:2",
        "mem": "16G",
        "cpus-per-task": 8,
        "requeue": True,
        "exclusive": True,
    }
