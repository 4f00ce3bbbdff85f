"""Values of options from text: the same for the command line and for config files."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

Parser = Callable[[str], Any]


def whole(text: str) -> int:
    """Parse a whole number."""
    return _parsed(text, int, "a whole number")


def number(text: str) -> float:
    """Parse a number; a record cannot hold those that are not finite."""
    value = _parsed(text, float, "a number")
    if not math.isfinite(value):
        raise ArgumentTypeError(f"must be a finite number, but got {text!r}")
    return value


def truth(text: str) -> bool:
    """Parse ``true`` or ``false``."""
    values = {"true": True, "false": False}
    return _parsed(text.lower(), values.__getitem__, "true or false")


def names(text: str) -> tuple[str, ...]:
    """Parse names that are separated by commas."""
    return tuple(text.split(","))


def optional(parse: Parser) -> Parser:
    """Extend a parser by the word ``none``."""
    return lambda text: None if text.lower() == "none" else parse(text)


PARSERS: dict[str, Parser] = {
    "bool": truth,
    "int": whole,
    "float": number,
    "Sequence": names,
    "tuple": names,
}
DATA_PARSERS: dict[str, Parser] = {
    "train_per_class": optional(whole),
    "test_per_class": optional(whole),
    "holdout": number,
}


def option_parsers(method: str) -> dict[str, Parser]:
    """Give the parser of each option of a method, chosen by the signature's annotation.

    Raises:
        UnknownNameError: if the method is unknown.
    """
    from avalanche_ham.runs.settings import ALIASES, defaults
    from avalanche_ham.strategies.registry import options_of

    parsers, parameters = {}, options_of(method)
    for name, value in defaults(method).items():
        parameter = parameters.get(ALIASES.get(name, name))
        written = type(value).__name__ if parameter is None else str(parameter.annotation)
        parsers[name] = _parser_of(written)
    return parsers


def _parser_of(annotation: str) -> Parser:
    """Choose a parser by an annotation, such as ``"float | None"``."""
    words = re.findall(r"\w+", annotation)
    parse = next((PARSERS[word] for word in words if word in PARSERS), str)
    return optional(parse) if "None" in words else parse


def _parsed(text: str, parse: Parser, allowed: str) -> Any:
    try:
        return parse(text)
    except (ValueError, KeyError) as error:
        # the one exception whose message argparse passes on, behind the option's name
        raise ArgumentTypeError(f"must be {allowed}, but got {text!r}") from error
