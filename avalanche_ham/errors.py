"""The errors a user can meet, each one clear line: option, what is allowed, what was given."""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

SHOWN = 200  # characters of a value in a message
LARGEST = 2**63 - 1  # of the numbers that torch and Python's iterators count with


class HamError(ValueError):
    """Base of every error of this package: one line, which the command line prints."""

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("\n", " "))


class OptionError(HamError):
    """An option has a value that is not allowed.

    Attributes:
        option, allowed, given: what the message is made of.
    """

    def __init__(self, option: str, allowed: str, given: object) -> None:
        self.option, self.allowed, self.given = option, allowed, given
        super().__init__(f"{option} must be {allowed}, but got {_shown(given)}")


class UnknownNameError(HamError):
    """A name stands in no table; the message lists a short table, and the nearest match."""

    def __init__(self, option: str, given: str, allowed: Iterable[str], or_else: str = "") -> None:
        names = sorted(allowed)
        near = difflib.get_close_matches(str(given)[:SHOWN], names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        listed = ", ".join(names) if len(names) <= 60 else f"{len(names)} names"
        listed += f" or {or_else}" if or_else else ""
        super().__init__(f"{option} must be one of {listed}, but got {_shown(given)}{hint}")


class DataError(HamError):
    """A data set cannot be read as it is: missing, empty, corrupt or inconsistent."""


class NoMatchError(HamError):
    """Nothing matched where something had to: an adapter without a layer, a merge of nothing."""


class StateError(HamError):
    """A saved state is truncated, foreign or belongs to another run."""


class DivergedError(HamError):
    """Training produced a loss or a parameter that is not finite."""


class StorageError(HamError):
    """A result cannot be written, as on a full disk; the message says what is safe."""


def check_sequence(option: str, value: Any) -> tuple[Any, ...]:
    """Give the items of a sequence, a set or an array; raise OptionError for anything else."""
    items = value.tolist() if hasattr(value, "tolist") else value  # of an array or tensor
    if not isinstance(items, (Sequence, Set)) or isinstance(items, (str, bytes)):
        raise OptionError(option, "a list of values", value)
    return tuple(items)


def check_text(option: str, value: object) -> None:
    """Raise OptionError unless value is text."""
    if not isinstance(value, str):
        raise OptionError(option, "text", value)


def check_path(option: str, value: str | os.PathLike[str]) -> Path:
    """Give a path, or raise OptionError for what is none."""
    try:
        text = os.fspath(value)
    except TypeError as error:
        raise OptionError(option, "a path", value) from error
    if not isinstance(text, str) or "\0" in text or not text:
        raise OptionError(option, "a path", value)
    return Path(text)


def _shown(given: object) -> str:
    """Write a value as Python would, but on one line and not without end."""
    try:
        text = repr(given)
    except Exception:  # an object's own, or a number of too many digits
        text = f"a {type(given).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def check_range(
    option: str,
    value: float,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise OptionError unless ``low <= value <= high``, with ``<`` at an open end.

    True and False are no numbers.
    """
    try:
        above = low < value if open_low else low <= value
        below = value < high if open_high else value <= high
        fits = bool(above and below) and not isinstance(value, bool)
    except (TypeError, ValueError, RuntimeError):  # text, None, an array
        fits = False
    if not fits:
        left = f"above {low:g}" if open_low else f"at least {low:g}"
        right = "" if math.isinf(high) else f" and {'below' if open_high else 'at most'} {high:g}"
        raise OptionError(option, left + right, value)


def check_whole(option: str, value: int, low: int = -LARGEST, high: float = float("inf")) -> None:
    """Raise OptionError unless value is a whole number with ``low <= value <= high``."""
    try:
        if isinstance(value, bool):
            raise TypeError("a truth is no number")
        operator.index(value)
    except TypeError as error:
        raise OptionError(option, "a whole number", value) from error
    check_range(option, value, low, min(high, LARGEST) if value > LARGEST else high)
