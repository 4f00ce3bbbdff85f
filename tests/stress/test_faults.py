"""Nothing is lost and nothing wrong is given out, whatever fails, dies or flips."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from faults import campaigns
from faults.layer import Layer

BARS = {"kills": 300, "errors": 200, "flips": 10_000}
SAMPLE = {"kills": 9, "errors": 8, "flips": 500}


# the children are forked with the tests' filters, and a cache that is made again says so
pytestmark = pytest.mark.filterwarnings("default")


def all_is_well(name: str, number: int, start, folder) -> None:
    place = folder / name
    place.mkdir()
    outcomes = list(getattr(campaigns, name)(start, place, number, 1))
    wrong = [outcome for outcome in outcomes if outcome.why]
    assert not wrong
    happened = sum(outcome.injected for outcome in outcomes)
    # a late call or moment is not always reached: a tenth, of a small sample two
    assert len(outcomes) == number and happened >= number - max(2, number // 10)


@pytest.mark.stress
@pytest.mark.parametrize("name", BARS)
def test_a_campaign_finds_nothing(name, start, tmp_path):
    all_is_well(name, BARS[name], start, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_of_a_campaign_finds_nothing(name, start, tmp_path):
    all_is_well(name, SAMPLE[name], start, tmp_path)


def in_a_fork(work) -> int:
    """Give the exit code of a fork that does the work."""
    if (child := os.fork()) == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_thrice(place: Path) -> int:
    for number in range(3):
        try:
            with open(place / f"{number}", "w") as file:
                file.write("x")
        except OSError as error:
            return 10 * number + error.errno
    return 0


@pytest.mark.parametrize(
    "call, count, code, expected",
    [
        ("write", 2, errno.ENOSPC, 10 + errno.ENOSPC),
        ("open", 3, errno.EMFILE, 20 + errno.EMFILE),
        ("write", 4, errno.EIO, 0),
        ("open", 1, campaigns.KILL, -9),
    ],
)
def test_the_layer_fails_the_call_it_is_told_and_says_so(tmp_path, call, count, code, expected):
    place, log = tmp_path / "place", tmp_path / "log"
    place.mkdir()

    def work() -> int:
        Layer(place, log, call, count, code).install()
        (tmp_path / "outside").write_text("not counted")
        return write_thrice(place)

    assert in_a_fork(work) == expected
    assert log.exists() is bool(expected)
    if expected:
        assert log.read_text().startswith(f"{call} {count} {code} '{place}/{count - 1}'")


def test_the_harness_sees_what_is_lost(tmp_path, monkeypatch):
    expected = [["ham", 1.0]]
    left = {tmp_path / "x": [["ham", 0.5]]}
    monkeypatch.setattr(campaigns.work, "left_by", lambda name, place: left.get(place, expected))
    fault = campaigns.Fault("run", True, "write", 1, errno.EIO)
    fine = campaigns.work.Result(0, "", "write 1")
    said = campaigns._judged(fault, fine, fine, tmp_path / "x", tmp_path)
    assert said == "the second run left something else"
    assert campaigns._judged(fault, fine, fine, tmp_path / "y", tmp_path) == ""
    trace = campaigns.work.Result(1, "Traceback (most recent call last)", "write 1")
    assert "Traceback" in campaigns._judged(fault, trace, fine, tmp_path / "y", tmp_path)
