"""A sample of a long parametrisation by default, and the rest of it under a marker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_of(names: Iterable[str], *quick: str, rest: Any = pytest.mark.slow) -> list[Any]:
    """All names as parameters; those not in ``quick`` bear the marker ``rest``."""
    names = list(names)
    assert set(quick) <= set(names), set(quick) - set(names)
    return [name if name in quick else pytest.param(name, marks=rest) for name in names]
