"""What docstrings say, as parts of a page."""

from __future__ import annotations

import importlib
import inspect
from typing import Any


def named(path: str) -> Any:
    """Import what a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def described(thing: Any) -> str:
    """Give the dotted path of a class or function."""
    return f"{thing.__module__}.{thing.__qualname__}"


def first_line(path: str) -> str:
    """Give the first line of a docstring, with Markdown's marks for code."""
    return (inspect.getdoc(named(path)) or "").partition("\n")[0].replace("``", "`")


def prose(path: str) -> str:
    """Give a docstring up to its list of arguments, in reStructuredText."""
    text = inspect.getdoc(named(path)) or ""
    for heading in ("Args", "Attributes", "Raises", "Returns"):
        text = text.partition(f"\n{heading}:\n")[0]
    return text.strip()
