"""One option: read from a word, checked, and made from an argument of a class or function.

An option is an argument of plain type that has a default. Its words are its docstring entry, and
so are its range (``in (0, 1]``, ``at least 1``, ``above 0``) and its choices (``one of`` and what
follows in double backticks), where the annotation is no ``Literal``.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from avalanche_ham.errors import LARGEST, OptionError, UnknownNameError, check_range
from avalanche_ham.runs.arguments import OBJECT, Argument

_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {  # in the order in which they are tried
    "bool": ("true or false", {"true": True, "false": False}.__getitem__),
    "int": ("a whole number", int),
    "float": ("a number", float),
    "str": ("text", str),
}
_SEVERAL = {"Sequence", "tuple", "Tuple", "list", "List"}
_PLAIN = {*_READERS, *_SEVERAL, "Optional", "Literal", "Union", "typing"}
_PLAIN |= {"Augment"}  # an object that is also made from its name
_BOUNDS = re.compile(
    r"in ([\[(])(-?[\d.]+), (-?[\d.]+)([\])])"
    r"|(at least|above|from) (-?\d[\d.]*)(?: (?:and )?(at most|below) (-?\d[\d.]*))?"
)
_CHOICES = re.compile(r"one of ((?:``\w+``(?: \([^)]*\))?(?:, or |, | or )?)+)")


@dataclass(frozen=True)
class Option:
    """An option: how it is read, what it may be, and its words.

    Attributes:
        name: with underscores.
        kinds: of ``bool``, ``int``, ``float``, ``str``; the first that fits is taken.
        default: its value where nobody gives one.
        words: what it is, on one line.
        optional: whether it may be None, the word ``none``.
        several: whether it is several values, separated by commas.
        choices: the words that it may be; empty allows any.
        needs: another option and the values of it without which this one has no meaning.
    """

    name: str
    kinds: tuple[str, ...]
    default: Any = None
    words: str = ""
    optional: bool = False
    several: bool = False
    choices: tuple[str, ...] = ()
    needs: tuple[str, tuple[str, ...]] | None = None

    def read(self, given: Any) -> Any:
        """Read a word, or a value from a file or from Python as if it were one.

        Raises:
            OptionError, UnknownNameError: if it is of another kind, outside the range, or none
                of the choices.
        """
        text = as_word(given)
        if self.optional and text.lower() == "none":
            return None
        if self.several:
            return tuple(self._one(part.strip(), given) for part in text.split(","))
        return self._one(text, given)

    def _one(self, text: str, given: Any) -> Any:
        for kind in self.kinds:
            try:
                value = _READERS[kind][1](text.lower() if kind == "bool" else text)
            except (KeyError, ValueError):
                continue
            if isinstance(value, float) and not math.isfinite(value):
                raise OptionError(self.name, "a finite number", given)
            if isinstance(value, int) and abs(value) > LARGEST:
                raise OptionError(self.name, "a number of at most 18 digits", given)
            if value == "":
                raise OptionError(self.name, "not empty", given)
            if self.choices and isinstance(value, str) and value not in self.choices:
                others = " or ".join(_READERS[kind][0] for kind in self.kinds if kind != "str")
                raise UnknownNameError(self.name, value, self.choices, or_else=others)
            if not isinstance(value, (bool, str)):
                self._check_range(value)
            return value
        raise OptionError(self.name, " or ".join(_READERS[k][0] for k in self.kinds), given)

    def _check_range(self, value: float) -> None:
        found = _BOUNDS.search(self.words)
        if found is not None:
            left, low, high, right, word, least, last, most = found.groups()
            check_range(
                self.name,
                value,
                float(low or least),
                float(high or most or "inf"),
                open_low=left == "(" or word == "above",
                open_high=right == ")" or last == "below",
            )


def as_word(value: Any) -> str:
    """Write a value as the command line would: ``none``, ``true``, ``a,b``."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(as_word, value))
    if isinstance(value, int) and value.bit_length() > 1000:
        return hex(value)  # Python writes no number of many thousand digits
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def option_of(name: str, argument: Argument) -> Option | None:
    """Make an option of an argument, None if it is an object."""
    default = argument.default
    note = argument.annotation or ast.Name(type(default).__name__)
    if isinstance(note, ast.Constant) and isinstance(note.value, str):  # "float | None"
        note = ast.parse(note.value, mode="eval").body
    parts = list(ast.walk(note))
    names = {getattr(part, "id", getattr(part, "attr", None)) for part in parts} - {None}
    found = [part.value for part in parts if isinstance(part, ast.Constant)]
    if default is OBJECT or not names <= _PLAIN:
        return None
    listed = _CHOICES.search(argument.words)
    literals = [value for value in found if isinstance(value, str)]
    return Option(
        name,
        tuple(kind for kind in _READERS if kind in names) or ("str",),
        default,
        argument.words,
        optional=None in found or "Optional" in names,
        several=bool(names & _SEVERAL),
        choices=tuple(literals or re.findall(r"``(\w+)``", listed[1] if listed else "")),
    )
