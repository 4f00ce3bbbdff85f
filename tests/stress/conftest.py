"""The harness of experiments/faults, on the path as its script finds it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """What every fault starts from: images, a cache, a finished run."""
    from faults.campaigns import prepared

    return prepared(tmp_path_factory.mktemp("faults"))
