"""A method's numbers change only together with its version, so that no old record is mistaken."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from sampling import some_of

from avalanche_ham.strategies.registry import METHODS

spec = importlib.util.spec_from_file_location(
    "numbers_of", Path(__file__).with_name("numbers_of.py")
)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
STORED = json.loads(module.STORED.read_text())


@pytest.mark.parametrize("method", some_of(METHODS, "ham", "ham_plus", "inflora", "pam", "sema"))
def test_a_method_gives_the_numbers_of_its_version(method):
    version = str(METHODS[method].numbers)
    assert version in STORED[method], "run tests/strategies/numbers_of.py, which adds them"
    expected, found = STORED[method][version], module.numbers_of(method)
    message = f"numbers of {method} changed: raise its version"
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-4), message
    assert all(abs(a - b) <= 1 for a, b in zip(found["right"], expected["right"])), message


def test_every_version_so_far_has_its_numbers():
    for name, method in METHODS.items():
        assert {int(version) for version in STORED[name]} == set(range(1, method.numbers + 1))
