"""Let Avalanche be imported where the home folder cannot be written.

Its module ``dataset_utils`` writes or reads ``~/.avalanche/config.json`` as it is imported, and
fails where it cannot (a container without a home, a compute node that has it read-only, a file
that a full disk left empty).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

__all__ = ["prepare"]

MODULE = "avalanche.benchmarks.datasets.dataset_utils"
HOME = ("HOME", "USERPROFILE")  # what ``expanduser`` reads, on Linux and on Windows


def prepare() -> None:
    """Import that one module in a temporary home, if it would fail in the home folder."""
    folder = os.path.expanduser("~/.avalanche")
    config = Path(folder, "config.json")
    sound = _is_sound(config) if os.path.exists(config) else _is_writable(folder)
    if sound or MODULE in sys.modules:
        return
    package = importlib.util.find_spec("avalanche")
    if package is None or package.origin is None:
        return
    path = Path(package.origin).parent.joinpath(*MODULE.split(".")[1:]).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    import tempfile  # here, since it is hardly ever needed

    before = {name: os.environ.get(name) for name in HOME}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ.update(dict.fromkeys(HOME, temporary))
        try:
            spec.loader.exec_module(module)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                os.environ.update({} if value is None else {name: value})
    module.AVALANCHE_CONFIG["dataset_location"] = f"{folder}/data"
    sys.modules[MODULE] = module


def _is_sound(config: Path) -> bool:
    try:
        return "dataset_location" in json.loads(config.read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def _is_writable(folder: str) -> bool:
    """Whether a folder can be written to, or made."""
    there = Path(folder)
    while not os.path.lexists(there):
        there = there.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
