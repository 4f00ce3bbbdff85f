"""Arguments are read from source as Python itself sees them, and nothing is executed."""

from __future__ import annotations

import inspect
import sys

import pytest

from avalanche_ham.errors import HamError
from avalanche_ham.merging import RULES
from avalanche_ham.penalties import PENALTIES
from avalanche_ham.runs.arguments import OBJECT, arguments, table
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies.registry import METHODS, strategy_class


def signature(*callables):
    """What Python says: name -> default, the later callable's for a name of several."""
    merged = {}
    for each in callables:
        merged |= inspect.signature(each).parameters
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p.default for name, p in merged.items() if p.kind not in kinds}


def assert_equal(read, real):
    assert {*read} - {"self"} == {*real} - {"self", "args"}
    for name, argument in read.items():
        if argument.default is not OBJECT:
            assert argument.default == real[name], name


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_strategies_are_those_of_their_signature_and_the_base_s(method):
    real = signature(ContinualStrategy, strategy_class(method))
    assert_equal(arguments(METHODS[method].path), real)


@pytest.mark.parametrize("path, found", [
    ("avalanche_ham.merging.registry.RULES", RULES),
    ("avalanche_ham.penalties.PENALTIES", PENALTIES),
])  # fmt: skip
def test_a_table_of_classes_is_read_as_it_is(path, found):
    read = table(path)
    assert list(read) == list(found)
    for name, place in read.items():
        assert place == f"{found[name].__module__}.{found[name].__qualname__}"
        assert_equal(arguments(place), signature(found[name]))


MODULE = '''
"""A method of someone else's."""
from math import pi
import {package}.base as base
from .base import LENGTH
from {package} import helper as called

raise RuntimeError("executed")

class Mine(base.Middle):
    """Mine.

    Args:
        length: how long,
            on two lines.
    """

    def __init__(self, *, length: int = LENGTH, angle=pi, **kwargs):
        super().__init__(hidden=3, **kwargs)

class Silent(base.Middle):
    pass

def made(first, second=2, **rest):
    return called(first, third=1, **rest)
'''
BASE = """
from avalanche_ham import HAMStrategy
LENGTH: int = 7

class Middle(HAMStrategy):
    def __init__(self, hidden=1, shown="a", keep=0.5, **kwargs):
        HAMStrategy.__init__(self, scope="seen", **kwargs)

def helper(first, *, third=3, fourth=4): ...
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that cannot be imported; only its top folder is looked for."""
    name = f"foreign_{tmp_path.name}"
    folder = tmp_path / name
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("from .base import helper\nraise RuntimeError('executed')")
    (folder / "base.py").write_text(BASE)
    (folder / "own.py").write_text(MODULE.format(package=name))
    (folder / "broken.py").write_text("def (")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_foreign_class_is_followed_to_ours_and_nothing_is_executed(package):
    found = arguments(f"{package}.own.Mine")
    defaults = {name: argument.default for name, argument in found.items()}
    assert (defaults["length"], defaults["shown"], defaults["keep"]) == (7, "a", 0.5)
    assert defaults["rank"] == 16 and defaults["lr"] == 5e-4  # HAM's and the base's
    assert defaults["angle"] is OBJECT
    assert not {"hidden", "scope"} & {*found}  # set by the class itself: nobody else can
    assert found["length"].words == "how long, on two lines"
    assert {"hidden", "rank"} <= {*arguments(f"{package}.own.Silent")}
    assert package not in sys.modules


def test_a_function_has_what_it_passes_on_but_not_what_it_sets(package):
    assert {k: v.default for k, v in arguments(f"{package}.own.made").items()} == {
        "first": OBJECT,
        "fourth": 4,
        "second": 2,
    }


@pytest.mark.parametrize(
    "path, said",
    [
        ("{}.nowhere.Mine", "{}.nowhere is no module whose source can be read"),
        ("{}.broken.Mine", "{}.broken is no module whose source can be read"),
        ("nosuchpackage.own.Mine", "nosuchpackage.own is no module"),
        ("math.Mine", "math is no module whose source can be read"),
        ("{}.own.Yours", "{}.own has no class or function 'Yours'"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line(path, said, package):
    with pytest.raises(HamError, match=said.format(package)):
        arguments(path.format(package))


def test_what_is_no_table_is_refused(package):
    with pytest.raises(HamError, match="LENGTH is no table"):
        table(f"{package}.base.LENGTH")
