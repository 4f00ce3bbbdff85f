"""Signals, lost terminals and lost parents: one line, one code, at any moment."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avalanche_ham.process import Stopped, stopping

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def python(code: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes)


def replaced(body: str) -> str:
    """A command whose work is ``body``."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return (
        "import os, sys, time\nfrom avalanche_ham import process\n"
        "from avalanche_ham.cli import main\nprocess.PATIENCE = 0.5\n"
        f"def work(words):\n    print('begun', flush=True)\n{lines}"
        "    return 0\nmain._dispatch = work\nsys.exit(main.main(['table']))\n"
    )


BODIES = {
    "a loop": "while True: pass",
    "a wait": "time.sleep(60)",
    "one that swallows it": "while True:\n  try: time.sleep(60)\n  except BaseException: pass",
    "an import cut short": "try: time.sleep(60)\nexcept BaseException: raise ImportError('torch')",
    "a long computation": "hash(10 ** 10 ** 7)\nsum(range(10 ** 10))",
}


@pytest.mark.parametrize("number, code", SIGNALS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("body", BODIES)
def test_a_signal_ends_in_one_line_and_its_code(body, number, code):
    with python(replaced(BODIES[body])) as command:
        assert command.stdout.readline() == "begun\n"
        time.sleep(0.05)
        command.send_signal(number)
        said = command.stderr.read()
    assert (command.returncode, said) == (code, "ham: stopped; the same command goes on\n")


def test_handlers_are_given_back_and_nest():
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    with pytest.raises(Stopped) as caught, stopping() as outer:
        with stopping() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
    assert caught.value.code == outer.code == 143 and inner.code is None
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before


@pytest.mark.parametrize("unbuffered", ["", "1"])  # what is held back must not fail in the end
def test_a_closed_terminal_does_not_end_a_command(unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    leader, terminal = pty.openpty()
    work = "time.sleep(0.3)\nprint('x' * 10000, file=sys.stderr, flush=True)\nprint('done')"
    with python(replaced(work), stderr=terminal, start_new_session=True) as command:
        assert command.stdout.readline() == "begun\n"
        os.close(terminal)
        os.close(leader)
        command.send_signal(signal.SIGHUP)
        assert command.stdout.read() == "done\n"
    assert command.returncode == 0


def test_a_closed_standard_error_is_not_mistaken_for_the_next_file(tmp_path):
    work = f"file = open({str(tmp_path / 'data')!r}, 'w')\nprint('noise', file=sys.stderr)\n"
    work += "os.write(2, b'noise')\nfile.write('data')"
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, replaced(work)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "begun\n")
    assert (tmp_path / "data").read_text() == "data"
