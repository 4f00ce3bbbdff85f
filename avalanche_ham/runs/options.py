"""The options of methods and benchmarks: what their signatures and docstrings say, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from avalanche_ham.benchmarks.registry import entry_of
from avalanche_ham.heads.registry import HEADS
from avalanche_ham.runs.arguments import arguments, table
from avalanche_ham.runs.option import Option, option_of
from avalanche_ham.strategies.registry import Method, get_method

NAMES: dict[str, str | None] = {  # argument -> the option's name; None: the run sets it
    "train_epochs": "epochs",
    "train_mb_size": "batch_size",
    "eval_mb_size": "eval_batch_size",
    "seed": None,
    "eval_every": None,
    "peval_mode": None,
    "download": None,
    "name": None,
}


class Made(NamedTuple):
    """An argument that is an object: what names its class, and where the classes stand."""

    option: str
    table: str
    default: str | None = None  # None: only methods that fix the class have it
    prefix: bool = False  # options of the class begin with its name


MADE = {
    "merge_rule": Made("merge", "avalanche_ham.merging.registry.RULES", "linear"),
    "regulariser": Made("regulariser", "avalanche_ham.penalties.PENALTIES", prefix=True),
    "alignment": Made("alignment", "avalanche_ham.merging.sign_alignment.ALIGNMENTS", prefix=True),
}


def options_of(method: str) -> dict[str, Option]:
    """List a method's options by name, with the defaults of its class and its row.

    Raises:
        UnknownNameError: if the method is unknown.
        HamError: if its source cannot be read.
    """
    row = get_method(method)
    rules = [table(made.table) for made in MADE.values()]
    known = _KNOWN.get(method)
    if known is None or known[0] is not row or known[1] != rules:  # a program added its own
        known = _KNOWN[method] = row, rules, _options_of(row)
    return dict(known[2])


# a page of tables asks thousands of times: row, classes by name, options
_KNOWN: dict[str, tuple[Method, list[dict[str, str]], dict[str, Option]]] = {}


def _options_of(row: Method) -> dict[str, Option]:
    found, plain = dict[str, Option](), _plain(row.path)
    for name, argument in arguments(row.path).items():
        if name in MADE:
            found |= _made(MADE[name], row.fixed, argument.words)
        elif name in plain:
            found[plain[name].name] = plain[name]
    return {
        name: replace(option, default=row.defaults.get(name, option.default))
        for name, option in found.items()
        if name not in row.fixed
    }


def benchmark_options(benchmark: str) -> dict[str, Option]:
    """List a benchmark's options by name."""
    found = _plain(entry_of(benchmark).function.replace(":", "."))
    return {option.name: option for option in found.values()}


def readout_options(*heads: str) -> dict[str, Option]:
    """List the options of closed-form heads by name, such as ``ridge_penalty``.

    Args:
        heads: whose; by default those of all heads. Names that are no head have none.
    """
    return {o.name: o for h in heads or HEADS for o in readout_arguments(h).values()}


def readout_arguments(head: str) -> dict[str, Option]:
    """List the options of one head: argument of its class -> option."""
    path = HEADS.get(head)
    return {
        argument: replace(option, name=f"{head}_{option.name}", needs=("head", (head,)))
        for argument, option in (_plain(path).items() if path else ())
    }


def class_options(made: Made, name: str) -> dict[str, Option]:
    """List the options of a named class of ``made``: its argument -> option."""
    prefix = f"{name}_" if made.prefix else ""
    found = _plain(table(made.table)[name])
    return {key: replace(option, name=prefix + option.name) for key, option in found.items()}


def _made(made: Made, fixed: Mapping[str, Any], words: str) -> dict[str, Option]:
    """Give the option that names an object's class, and the options of those classes."""
    if made.default is None and made.option not in fixed:
        return {}
    names = (fixed[made.option],) if made.option in fixed else tuple(table(made.table))
    found = {made.option: Option(made.option, ("str",), made.default, words, choices=names)}
    for name in names:
        for option in class_options(made, name).values():
            before = found.get(option.name, option)
            owners = (*(before.needs[1] if before.needs else ()), name)
            more = "" if option.words in before.words else f"; {option.words}"
            words, needs = before.words + more, (made.option, owners)
            found[option.name] = replace(option, words=words, needs=needs)
    return found


@cache
def _plain(path: str) -> dict[str, Option]:
    """Make options of those arguments that are plain and not the run's."""
    named = {key: NAMES.get(key, key) for key in arguments(path)}
    found = {key: option_of(name, arguments(path)[key]) for key, name in named.items() if name}
    return {key: option for key, option in found.items() if option is not None}
