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


@pytest.fixture
def drift_heads():
    """The names that ``drift_heads.py`` gives to heads, for the time of a test."""
    from avalanche_ham.heads import HEADS

    before = dict(HEADS)
    import drift_heads

    names = (*drift_heads.VARIANTS, "lda_drift_unmoved")
    HEADS.update({n: f"drift_heads.{n}" for n in names if n not in HEADS})  # of an earlier test
    yield
    for name in HEADS.keys() - before.keys():
        del HEADS[name]
