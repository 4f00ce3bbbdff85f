"""Tables of options, as the command line reads them from signatures and docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from avalanche_ham.runs.arguments import arguments
from avalanche_ham.runs.option import Option, as_word
from avalanche_ham.runs.options import NAMES, options_of
from avalanche_ham.strategies.registry import METHODS
from pages.table import table

BASE = "avalanche_ham.strategies._base.ContinualStrategy"
KINDS = {"bool": "`true` or `false`", "int": "whole number", "float": "number", "str": "text"}


def shared_names() -> set[str]:
    """Name the options that every strategy passes on to its base."""
    return {NAMES.get(name) or name for name in arguments(BASE)}


@cache
def shared_options() -> tuple[Option, ...]:
    """List them, with the defaults of the base: as the first method that changes none has them."""
    names = shared_names()
    found: dict[str, Option] = {}
    for method in METHODS:
        for name, option in options_of(method).items():
            if name in names and name not in METHODS[method].defaults:
                found.setdefault(name, option)
    return tuple(found.values())


def own_options(method: str) -> list[Option]:
    """List a method's options that are not those of all methods, or have another default."""
    common = {option.name: option for option in shared_options()}
    return [
        option
        for name, option in options_of(method).items()
        if name not in common or option.default != common[name].default
    ]


def option_table(options: Iterable[Option]) -> str:
    """Write options as the command line names them, with values, default and words."""
    head = ("option", "values", "default", "meaning")
    return table(head, map(_row, options))


def _row(option: Option) -> tuple[str, str, str, str]:
    if option.choices:
        values = ", ".join(f"`{choice}`" for choice in option.choices)
    else:
        values = " or ".join(KINDS[kind] for kind in option.kinds)
    values += ", several with commas" if option.several else ""
    values += ", `none`" if option.optional else ""
    words = re.sub(r"``(.*?)``", r"`\1`", option.words)
    words = re.sub(r"\b(None|True|False)\b", lambda found: f"`{found[0].lower()}`", words)
    if option.needs:
        other, owners = option.needs
        words += f" (with `--{other.replace('_', '-')}` {', '.join(f'`{o}`' for o in owners)})"
    flag = f"`--{option.name.replace('_', '-')}`"
    return flag, values, f"`{as_word(option.default)}`", words[:1].upper() + words[1:]
