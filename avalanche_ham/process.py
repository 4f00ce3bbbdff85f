"""What the command's processes do about signals, a lost terminal, and the end of their parent.

Whatever is written is whole, and locks end with their process, so that a process may end anywhere.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Any

PATIENCE = 5  # seconds in which an interrupted process ends by itself, or is ended
ORPHANED = 143
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal has asked for the end.

    Attributes:
        code: the exit code that says so, 130 or 143.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.code = 128 + number


class Ending:
    """What is known of the signals that came.

    Attributes:
        code: the exit code of the first one, None without any.
    """

    code: int | None = None


@contextlib.contextmanager
def stopping(say: Callable[[], None] = lambda: None) -> Iterator[Ending]:
    """Let SIGINT and SIGTERM raise ``Stopped`` in the body.

    A library may swallow it, and a computation may not look up for long; so the process is ended
    at the second signal, or ``PATIENCE`` seconds after the first one.

    Args:
        say: called before that, to tell why; elsewhere whoever catches ``Stopped`` tells.
    """
    ending = Ending()
    inside = any(getattr(signal.getsignal(n), "stops", False) for n in _ENDING)
    if inside or threading.current_thread() is not threading.main_thread():
        yield ending  # only the main thread may set handlers
        return

    def handle(number: int, frame: Any) -> None:
        if ending.code is not None:
            say()
            os._exit(ending.code)
        ending.code = 128 + number
        raise Stopped(number)

    handle.stops = True  # type: ignore[attr-defined]
    with _watched(say):
        before = {number: signal.signal(number, handle) for number in _ENDING}
        try:
            yield ending
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _watched(say: Callable[[], None]) -> Iterator[None]:
    """Have a thread see signals, also while the main thread computes, and end it in the end."""
    if os.name != "posix":
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        number = 0
        while number not in _ENDING:
            found = os.read(reading, 1)
            if not found:
                break
            number = found[0]
        else:
            if not done.wait(PATIENCE):
                say()
                os._exit(128 + number)
        os.close(reading)

    done = threading.Event()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        done.set()
        os.close(writing)


class Lossy:
    """A stream whose reader may go away, as a closed terminal does: the rest is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what can be handed over."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def lost_terminal_survived() -> Iterator[None]:
    """Let no closed terminal, closed standard error or hang-up end the body."""
    for number in range(3):  # else the next file that is opened would be standard error
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    errors, before = sys.stderr, None
    sys.stderr = Lossy(errors or open(os.devnull, "w"))  # type: ignore[assignment]  # noqa: SIM115
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        sys.stderr = errors
        if before is not None:
            signal.signal(signal.SIGHUP, before)
        try:
            if errors is not None:
                errors.flush()
        except OSError:
            drop_output(errors)
        except ValueError:
            pass  # it is closed, and nothing left of it


def drop_output(stream: Any) -> None:
    """Let what a stream still holds go nowhere: else Python ends with code 120, whatever it did.

    Args:
        stream: of a file descriptor.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def serve_parent() -> None:
    """In a process that another one has started: end at a signal, or with that process."""
    for number in _ENDING:
        signal.signal(number, lambda number, frame: os._exit(128 + number))
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    wait([parent.sentinel])
    os._exit(ORPHANED)
