"""A TOML or YAML file of options; the command line wins over it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from avalanche_ham.errors import HamError

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
        HamError: if the file cannot be read or holds another table.
    """
    words, path = _take_config(words)
    if path is None:
        return words, {}
    front, found = [], {}
    for key, value in read_config(path).items():
        name = key.replace("_", "-")
        if isinstance(value, dict):
            if key not in tables:
                raise HamError(
                    f"config: {path} holds a table {key!r}, which has no meaning here"
                )
            found[key] = value
        elif name in FLAGS:
            front += [f"--{name}"] if value else []
        else:
            front += [f"--{name}={_word(value)}"]
    return front + words, found


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
    return values


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
