"""What the commands share: a parser that says one line, options, and a look at their values."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from avalanche_ham.errors import HamError, OptionError, check_whole

DATA_ROOT = "~/.cache/avalanche_ham"
SHARED: dict[str, dict[str, Any]] = {  # of the commands that make several runs
    "backbone": {"help": "default: the preset's"},
    "image-size": {"type": int, "help": "pixels; default: the preset's or the backbone's own"},
    "weights": {"help": "local weights file for the backbone"},
    "data-root": {"default": DATA_ROOT, "help": "folder of the data sets"},
    "device": {"default": "auto", "help": "auto, cpu, cuda, cuda:1 ... or mps"},
    "threads": {"type": int, "help": "torch threads of each process"},
    "jobs": {"type": int, "default": 1, "help": "processes; 0 runs in this one"},
    "download": {"action": "store_true", "help": "fetch missing data sets"},
}


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise HamError(message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what no path or name can hold, which a config file can."""
        for word in args or ():
            if "\0" in word:
                raise HamError(f"{word!r} holds the character 0")
        return super().parse_known_args(args, namespace)

    def add_options(self, options: Mapping[str, Mapping[str, Any]]) -> None:
        """Take options: name -> arguments of ``add_argument``."""
        for name, about in options.items():
            self.add_argument(flag(name), **about)


def flag(name: str) -> str:
    """Write an option's name as on the command line; ``name=value`` keeps its value."""
    name, *value = name.split("=", 1)
    return "=".join(("--" + name.removeprefix("--").replace("_", "-"), *value))


@contextlib.contextmanager
def tasks_named_so() -> Iterator[None]:
    """Let errors of the body call ``n_tasks`` by its name on the command line, ``tasks``."""
    try:
        yield
    except OptionError as error:
        if error.option != "n_tasks":
            raise
        raise OptionError("tasks", error.allowed, error.given) from error


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Split numbers at commas; one that stands there twice counts once.

    Raises:
        OptionError: if they are none.
    """
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError as error:
        raise OptionError(option, "whole numbers, separated by commas", text) from error


def resources_of(args: argparse.Namespace) -> Any:
    """Give the ``Resources`` that the options name, after a look at processes and device.

    Raises:
        OptionError: if a number is outside its range, or there is no such device.
    """
    from avalanche_ham.runs.config import Resources

    check_whole("jobs", args.jobs, 0, 1024)
    names = ("data_root", "device", "threads", "download")
    resources = Resources(**{name: getattr(args, name) for name in names})
    if args.device != "auto" and not getattr(args, "cluster", None):  # its nodes have others
        resources.torch_device()
    return resources


def check_place(option: str, folder: Path | None) -> None:
    """Say now, not after the work, that a folder cannot be made or written.

    Raises:
        HamError: if so; None is fine.
    """
    if folder is None:
        return
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir():
        raise HamError(f"{option}: {nearest} is a file, not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise HamError(f"{option}: {nearest} is not writable")
