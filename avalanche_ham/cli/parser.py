"""What the commands share: a parser that says one line, and a look at where results go."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

from avalanche_ham.errors import HamError

DATA_ROOT = "~/.cache/avalanche_ham"


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise HamError(message)


def flag(name: str) -> str:
    """Write an option's name as on the command line; ``name=value`` keeps its value."""
    name, *value = name.split("=", 1)
    return "=".join(("--" + name.removeprefix("--").replace("_", "-"), *value))


def check_place(option: str, folder: Path | None) -> None:
    """Say now, not after the work, that a folder cannot be made or written.

    Raises:
        HamError: if so; None is fine.
    """
    if folder is None:
        return
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir():
        what = "a file, not a folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        what = "not writable"
    else:
        return
    raise HamError(f"{option}: {nearest} is {what}")
