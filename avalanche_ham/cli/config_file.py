"""A TOML or YAML file of options; the command line wins over it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from avalanche_ham.benchmarks.registry import BENCHMARKS
from avalanche_ham.cli.parser import OneLineParser, flag
from avalanche_ham.errors import HamError, UnknownNameError
from avalanche_ham.files import read_regular
from avalanche_ham.runs.option import Option, as_word
from avalanche_ham.runs.options import benchmark_options, options_of, readout_options
from avalanche_ham.strategies.registry import METHODS

FLAGS = (
    "cancel", "detach", "download", "dry-run", "keep-state", "probes", "resume", "retry", "run",
)  # fmt: skip
TABLES = ("options", "methods")
LARGEST_FILE = 2**20  # bytes
STYLES = {"toml": " = ", "yaml": ": "}


def expand(
    words: list[str], *, tables: tuple[str, ...] = TABLES
) -> tuple[list[str], dict[str, Any]]:
    """Put the options of each ``--config FILE`` in front of the words of a command line.

    What stands later wins, so the command line wins over the files. A key is an option's
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
    parser = OneLineParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path, action="append", default=[])
    args, words = parser.parse_known_args(words)
    front: list[str] = []
    found: dict[str, Any] = {}
    pairs = [(path, *pair) for path in args.config for pair in read_config(path).items()]
    for path, key, value in pairs:
        if isinstance(value, dict):
            if key not in tables:
                raise HamError(f"config: {path} holds a table {key!r}, which has no meaning here")
            found[key] = {**found.get(key, {}), **value}
        elif flag(key)[2:] in FLAGS:
            if not isinstance(value, bool):
                raise HamError(f"config: {key} in {path} must be true or false, but got {value!r}")
            front += [flag(key)] if value else []
        else:
            front.append(f"{flag(key)}={as_word(value)}")
    return front + words, found


def read_tables(tables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the values in a file's tables as the command line would read them.

    Returns:
        Options for every method that has them, and method -> options.

    Raises:
        HamError: if a name is unknown or a value does not fit its option.
    """
    # "+" stands for all mixtures, whose options are alike
    of_data = [readout_options(), *map(benchmark_options, (*BENCHMARKS, "+"))]
    everything = [*of_data, *(options_of(name) for name in METHODS)]
    common = _read_table("options", tables.get("options", {}), everything)
    own = {}
    for method, table in tables.get("methods", {}).items():
        if not isinstance(table, dict):
            raise HamError(f"config: {method} in [methods] must be a table, but got {table!r}")
        own[method] = _read_table(f"methods.{method}", table, [*of_data, options_of(method)])
    return common, own


def _read_table(
    title: str, table: Mapping[str, Any], owners: Iterable[Mapping[str, Option]]
) -> dict[str, Any]:
    """Read values of which at least one owner of an option of that name approves."""
    values = {}
    for key, value in table.items():
        name, error = key.replace("-", "_"), None
        for options in owners:
            try:
                option = replace(options[name], name=f"config: {name} in [{title}]")
                values[name] = option.read(value)
                break
            except KeyError:
                continue
            except HamError as why:
                error = error or why
        else:
            known = {known for options in owners for known in options}
            raise error or UnknownNameError(f"config: option in [{title}]", key, known)
    return values


def write_config(values: Mapping[str, Any], style: str) -> str:
    """Write options as a file that ``--config`` reads, a line each.

    Args:
        values: name -> value in plain types; None becomes the word ``none``.
        style: ``toml`` or ``yaml``; JSON's values are both.
    """
    shown = {flag(k)[2:]: "none" if v is None else v for k, v in values.items()}
    pairs = ((name, json.dumps(value, ensure_ascii=False)) for name, value in shown.items())
    return "\n".join(name + STYLES[style] + value for name, value in pairs)


def read_config(path: Path) -> dict[str, Any]:
    """Read a file that ends with ``.toml``, ``.yaml`` or ``.yml``.

    Raises:
        HamError: if it is missing, malformed or of another kind.
    """
    reader = {".toml": _toml, ".yaml": _yaml, ".yml": _yaml}.get(path.suffix)
    if reader is None:
        raise HamError(f"config: {path} must end with .toml, .yaml or .yml")
    try:
        values = reader(read_regular(path, limit=LARGEST_FILE).decode("utf-8-sig"))
    except OSError as error:
        raise HamError(f"config: cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
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
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    return importlib.import_module(name).loads(text)


class _PlainLoader(yaml.SafeLoader):
    """Reads no aliases: a few of them can stand for more values than there is memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=_PlainLoader)
