"""Odd input by the hundred ends in one line and exit code 2, at once, and writes nothing."""

from __future__ import annotations

import signal

import pytest
from faults.odd_input import commands

from avalanche_ham.cli.main import main

SECONDS = 60  # in which even a loaded machine has read what little there is to read


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Run a command; say what is wrong about how it ends, None if nothing is."""
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    places = {"OUT": str(tmp_path / "out"), "RECORDS": str(tmp_path / "records")}

    def hang(*args):
        raise RuntimeError(f"no answer in {SECONDS} s")

    def run(words):
        words = [places.get(word, word) for word in words]
        if words[0] == "run" and "--resume" not in words:
            words += ["--out", places["OUT"]]
        capfd.readouterr()
        signal.alarm(SECONDS)
        try:
            code = main(words)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        printed, said = capfd.readouterr()
        if code != 2 or printed or said.count("\n") != 1 or not said.startswith("ham: "):
            return f"exit code {code}, {printed!r}, {said!r}"
        left = [name for name, place in places.items() if (tmp_path / place).exists()]
        return f"wrote {left}" if left else None

    previous = signal.signal(signal.SIGALRM, hang)
    yield run
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(1, marks=pytest.mark.stress),
        pytest.param(7, marks=pytest.mark.slow),
        43,
    ],
)
def test_odd_input_is_refused_in_one_line(step, refused, tmp_path):
    (tmp_path / "in").mkdir()
    given = list(commands(tmp_path / "in"))
    assert len(given) > 400
    wrong = {words: why for words in given[::step] if (why := refused(words))}
    assert not wrong
