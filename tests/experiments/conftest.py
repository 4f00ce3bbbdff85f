"""What all tests of the scripts share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="package", autouse=True)
def experiments():
    """The folder of the scripts, on the path as running one of them as a file puts it there."""
    folder = Path(__file__).resolve().parents[2] / "experiments"
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
