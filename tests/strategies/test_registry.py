"""The table of methods."""

from __future__ import annotations

import subprocess
import sys

import pytest

from avalanche_ham.errors import UnknownNameError
from avalanche_ham.heads import HEADS
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies.registry import METHODS, get_method, strategy_class


@pytest.mark.parametrize("method", METHODS)
def test_every_row_leads_to_a_strategy_that_inherits_once(method):
    cls = strategy_class(method)
    assert cls.__bases__ == (ContinualStrategy,)
    assert METHODS[method].source
    assert METHODS[method].head in (None, *HEADS)


def test_the_reference_rows_are_there():
    assert {
        "ham",
        "finetune",
        "ewc",
        "lwf",
        "frozen",
        "lora",
        "joint",
        "ncm",
        "ridge",
    } <= set(METHODS)


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="method must be one of .*did you mean 'finetune'"):
        get_method("finetun")


def test_listing_the_methods_imports_neither_avalanche_nor_torch():
    code = (
        "import sys; from avalanche_ham.strategies.registry import METHODS;"
        "sys.exit(any(m in sys.modules for m in ('avalanche', 'torch')) or not METHODS)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=_root()).returncode == 0


def _root() -> str:
    import avalanche_ham

    return avalanche_ham.__path__[0].removesuffix("avalanche_ham")
