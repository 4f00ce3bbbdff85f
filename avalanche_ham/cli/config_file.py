"""A TOML or YAML file of options; the command line wins over it."""

from __future__ import annotations

import importlib
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avalanche_ham.cli.values import DATA_PARSERS, Parser, option_parsers
from avalanche_ham.errors import HamError, UnknownNameError

FLAGS = ("download", "dry-run", "keep-state", "probes", "resume", "retry", "run")
TABLES = ("options", "methods")


def expand(
    words: list[str], *, tables: tuple[str, ...] = TABLES
) -> tuple[list[str], dict[str, Any]]:
    """Put the options of ``--config FILE`` in front of the words of a command line.

    What stands later wins, so the command line wins over the file. A key is an option's
    name, with ``-`` or ``_``; a list becomes words joined by commas.

    Args:
        words: of the command line, after the command's name.
        tables: names of the tables that the file may hold.

    Returns:
        The words without ``--config``, and the file's tables: ``options`` (for every method
        that has them) and ``methods`` (method -> options).

    Raises:
        HamError: if the file cannot be read, holds another table, or a switch that is
            neither true nor false.
    """
    words, path = _take_config(words)
    if path is None:
        return words, {}
    front, found = [], {}
    for key, value in read_config(path).items():
        name = key.replace("_", "-")
        if isinstance(value, dict):
            if key not in tables:
                raise HamError(f"config: {path} holds a table {key!r}, which has no meaning here")
            found[key] = value
        elif name in FLAGS:
            if not isinstance(value, bool):
                raise HamError(f"config: {key} in {path} must be true or false, but got {value!r}")
            front += [f"--{name}"] if value else []
        else:
            front += [f"--{name}={_word(value)}"]
    return front + words, found


def read_tables(tables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the values in a file's tables as the command line would read them.

    Returns:
        Options for every method that has them, and method -> options.

    Raises:
        HamError: if a name is unknown or a value does not fit its option.
    """
    if not tables:
        return {}, {}
    from avalanche_ham.strategies.registry import METHODS

    known = {k: parse for name in METHODS for k, parse in option_parsers(name).items()}
    common = _read_table("options", tables.get("options", {}), known)
    own = {}
    for method, table in tables.get("methods", {}).items():
        if not isinstance(table, dict):
            raise HamError(f"config: {method} in [methods] must be a table, but got {table!r}")
        own[method] = _read_table(f"methods.{method}", table, option_parsers(method))
    return common, own


def _read_table(
    title: str, table: Mapping[str, Any], parsers: Mapping[str, Parser]
) -> dict[str, Any]:
    parsers, values = {**parsers, **DATA_PARSERS}, {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in parsers:
            raise UnknownNameError(f"config: option in [{title}]", key, parsers)
        try:
            values[name] = parsers[name](_word(value))
        except ArgumentTypeError as error:
            raise HamError(f"config: {name} in [{title}] {error}") from error
    return values


def read_config(path: Path) -> dict[str, Any]:
    """Read a file that ends with ``.toml``, ``.yaml`` or ``.yml``.

    Raises:
        HamError: if it is missing, malformed, of another kind, or nothing here reads it.
    """
    reader = {".toml": _toml, ".yaml": _yaml, ".yml": _yaml}.get(path.suffix)
    if reader is None:
        raise HamError(f"config: {path} must end with .toml, .yaml or .yml")
    try:
        values = reader(path.read_text())
    except OSError as error:
        raise HamError(f"config: cannot read {path}: {error.strerror}") from error
    except ImportError as error:
        raise HamError(f"config: {path} needs a package to read it: {error}") from error
    except Exception as error:  # each reader has errors of its own
        raise HamError(f"config: {path} is malformed: {error}") from error
    if not isinstance(values, dict):
        raise HamError(f"config: {path} must hold names and values")
    _check_names(values, path)
    return values


def _check_names(values: dict[Any, Any], path: Path) -> None:
    """Refuse names that are no strings, such as YAML's ``yes`` and ``1``, in tables too."""
    for key, value in values.items():
        if not isinstance(key, str):
            raise HamError(
                f"config: names in {path} must be text, but got {key!r}: put it in quotes"
            )
        if isinstance(value, dict):
            _check_names(value, path)


def _toml(text: str) -> Any:
    try:
        reader = importlib.import_module("tomllib")  # Python 3.11 and later
    except ImportError:
        try:
            reader = importlib.import_module("tomli")
        except ImportError as error:
            raise ImportError("tomli, as this Python is older than 3.11") from error
    return reader.loads(text)


def _yaml(text: str) -> Any:
    try:
        reader = importlib.import_module("yaml")
    except ImportError as error:
        raise ImportError("PyYAML, which is not installed") from error
    return reader.safe_load(text)


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_word(v) for v in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def _take_config(words: list[str]) -> tuple[list[str], Path | None]:
    rest, path, position = [], None, 0
    while position < len(words):
        word = words[position]
        if word == "--config":
            if position + 1 == len(words):
                raise HamError("config: --config needs a file")
            path, position = Path(words[position + 1]), position + 2
        elif word.startswith("--config="):
            path, position = Path(word.partition("=")[2]), position + 1
        else:
            rest.append(word)
            position += 1
    return rest, path
