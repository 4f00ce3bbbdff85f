"""The errors a user can meet, each one clear line: option, what is allowed, what was given."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


class HamError(ValueError):
    """Base of every error of this package; the command line prints it and exits with code 2."""


class OptionError(HamError):
    """An option has a value that is not allowed.

    Attributes:
        option, allowed, given: what the message is made of.
    """

    def __init__(self, option: str, allowed: str, given: object) -> None:
        self.option, self.allowed, self.given = option, allowed, given
        super().__init__(f"{option} must be {allowed}, but got {given!r}")


class UnknownNameError(HamError):
    """A name stands in no table; the message lists a short table, and the nearest match."""

    def __init__(self, option: str, given: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed)
        near = difflib.get_close_matches(given, names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        listed = ", ".join(names) if len(names) <= 60 else f"{len(names)} names"
        super().__init__(f"{option} must be one of {listed}, but got {given!r}{hint}")


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


def check_range(
    option: str,
    value: float,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise OptionError unless ``low <= value <= high``, with ``<`` at an open end."""
    above = low < value if open_low else low <= value
    below = value < high if open_high else value <= high
    if not (above and below):
        left = f"above {low:g}" if open_low else f"at least {low:g}"
        right = "" if math.isinf(high) else f" and {'below' if open_high else 'at most'} {high:g}"
        raise OptionError(option, left + right, value)
