"""One option: words, files and Python give the same values, and the same refusals."""

from __future__ import annotations

import pytest

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.runs.option import Option


def test_kinds_of_values_from_words_files_and_python_are_one():
    number = Option("x", ("float",), words="above 0 and at most 2", optional=True)
    assert [number.read(v) for v in ("1e-3", 1, "none", None)] == [1e-3, 1.0, None, None]
    assert isinstance(number.read(1), float)
    names = Option("x", ("str",), several=True)
    assert names.read("a, b") == names.read(["a", "b"]) == ("a", "b")
    assert Option("x", ("bool",)).read("False") is Option("x", ("bool",)).read(False) is False
    either = Option("x", ("float", "str"), choices=("sqrt",))
    assert (either.read("0.5"), either.read("sqrt")) == (0.5, "sqrt")


@pytest.mark.parametrize(
    "kinds, words, given, said",
    [
        (("int",), "", 1.5, "x must be a whole number, but got 1.5"),
        (("int",), "", True, "x must be a whole number, but got True"),
        (("int",), "", "none", "x must be a whole number, but got 'none'"),
        (("float",), "", "inf", "x must be a finite number, but got 'inf'"),
        (("bool",), "", 1, "x must be true or false, but got 1"),
        (("float",), "in (0, 1]", 0, "x must be above 0 and at most 1, but got 0.0"),
        (("float",), "in [0, 1), a share", 1, "x must be at least 0 and below 1, but got 1.0"),
        (("int",), "from 1 to what fits", 0, "x must be at least 1, but got 0"),
        (("float",), "at least 1 and at most 4", 5, "x must be at least 1 and at most 4"),
        (("float", "str"), "", "sqr", "x must be one of sqrt or a number, but got 'sqr'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(kinds, words, given, said):
    choices = ("sqrt",) if "str" in kinds else ()
    with pytest.raises((OptionError, UnknownNameError)) as refused:
        Option("x", kinds, words=words, choices=choices).read(given)
    assert str(refused.value).startswith(said)
