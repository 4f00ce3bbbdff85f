"""The arguments of a class or function, read from its source: nothing is imported or executed.

So that a command can list and check all options before torch and Avalanche, which take seconds.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, NamedTuple

import docstring_parser

from avalanche_ham.errors import HamError

OBJECT: Any = object()  # a default that is no literal, or none at all
Definition = ast.ClassDef | ast.FunctionDef


class Argument(NamedTuple):
    """An argument: its annotation, its default or ``OBJECT``, its words in the docstring."""

    annotation: ast.expr | None
    default: Any
    words: str


@cache
def arguments(path: str) -> dict[str, Argument]:
    """Read the arguments of a class or function, and those that its ``**kwargs`` pass on.

    A class has those of its ``__init__``, or its fields if it is a dataclass. What it passes on
    to its base, or a function to another one, is an argument too; but not what it sets itself
    in that call, nor what is Avalanche's.

    Args:
        path: such as ``package.module.Name``; an import of that name is followed.

    Returns:
        Name -> argument; passed on ones first, those with words before those without.

    Raises:
        HamError: if there is no such source.
    """
    module, node = _definition(path)
    taken = _initialiser(node) if isinstance(node, ast.ClassDef) else node
    found: dict[str, Argument] = {}
    for target, given in _passed_on(node, taken):
        home = _absolute(module, target)
        if home is not None and not home.startswith("avalanche."):
            more = {k: v for k, v in arguments(home).items() if k not in given}
            found |= {k: v for k, v in more.items() if v.words or k not in found}
    words = {**_words(taken), **_words(node)}
    own = _fields(node) if taken is None else _parameters(taken)
    for name, annotation, default in own:
        found[name] = Argument(annotation, _literal(module, default), words.get(name, ""))
    return found


def table(path: str) -> dict[str, str]:
    """Read a dict literal of classes or functions: name -> where the class or function is.

    Rows that a program has added to it since count too.
    """
    module, _, name = path.rpartition(".")
    loaded = getattr(sys.modules.get(module), name, {})
    added = {key: f"{value.__module__}.{value.__qualname__}" for key, value in loaded.items()}
    return {**added, **_literal_table(path)}


@cache
def _literal_table(path: str) -> dict[str, str]:
    module, _, name = path.rpartition(".")
    node = _assigned(module, name)
    if not isinstance(node, ast.Dict):
        raise HamError(f"{path} is no table that can be read")
    pairs = zip(node.keys, node.values, strict=True)
    return {ast.literal_eval(k): str(_absolute(module, ast.unparse(v))) for k, v in pairs if k}


def _definition(path: str) -> tuple[str, Definition]:
    """Find the module and the syntax tree of a class or function."""
    module, _, name = path.rpartition(".")
    for node in _parsed(module)[1].body:
        if isinstance(node, Definition) and node.name == name:
            return module, node
    home = _absolute(module, name)
    if home is None or home == path:
        raise HamError(f"{module} has no class or function {name!r}")
    return _definition(home)


@cache
def _parsed(module: str) -> tuple[ModuleSpec, ast.Module]:
    """Find and parse a module without executing the packages above it."""
    names = module.split(".")
    try:
        spec: Any = importlib.util.find_spec(names[0])
        for count in range(2, len(names) + 1):
            spec = PathFinder.find_spec(".".join(names[:count]), spec.submodule_search_locations)
        return spec, ast.parse(spec.loader.get_source(module))
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise HamError(f"{module} is no module whose source can be read ({error})") from error


def _absolute(module: str, dotted: str) -> str | None:
    """Give the path of what a module calls by a name; None for a builtin."""
    first, dot, rest = dotted.partition(".")
    spec, tree = _parsed(module)
    for node in ast.walk(tree):
        if isinstance(node, Definition) and node.name == first:
            return f"{module}.{dotted}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                if first == (alias.asname or alias.name.partition(".")[0]):
                    return f"{alias.name if alias.asname else first}{dot}{rest}"
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if first == (alias.asname or alias.name):
                    relative = "." * node.level + (node.module or "")
                    home = importlib.util.resolve_name(relative, spec.parent)
                    return f"{home}.{alias.name}{dot}{rest}"
    return None


def _passed_on(node: Definition, taken: ast.FunctionDef | None) -> Iterator[tuple[str, set[str]]]:
    """Give the names of those that get the remaining arguments, and what they get besides."""
    bases = [ast.unparse(base) for base in getattr(node, "bases", [])][::-1]
    if taken is None:  # a class without an initialiser of its own
        yield from ((base, set()) for base in bases)
    elif taken.args.kwarg is not None:
        rest = taken.args.kwarg.arg
        for call in ast.walk(taken):
            if isinstance(call, ast.Call) and any(
                word.arg is None and ast.unparse(word.value) == rest for word in call.keywords
            ):
                target, given = ast.unparse(call.func), {str(word.arg) for word in call.keywords}
                targets = bases if target.startswith("super(") else [target]
                yield from ((name.removesuffix(".__init__"), given) for name in targets)


def _initialiser(node: ast.ClassDef) -> ast.FunctionDef | None:
    members = (m for m in node.body if isinstance(m, ast.FunctionDef))
    return next((member for member in members if member.name == "__init__"), None)


def _parameters(
    function: ast.FunctionDef,
) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    listed = function.args
    positional = [*listed.posonlyargs, *listed.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(listed.defaults))
    defaults = [*missing, *listed.defaults, *listed.kw_defaults]
    for argument, default in zip([*positional, *listed.kwonlyargs], defaults):
        yield argument.arg, argument.annotation, default


def _fields(node: Any) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Give a dataclass's fields, none of another class."""
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        for field in node.body:
            if isinstance(field, ast.AnnAssign):
                yield ast.unparse(field.target), field.annotation, field.value


def _words(node: ast.AST | None) -> dict[str, str]:
    """Give the words on each argument in a docstring, on one line."""
    text = ast.get_docstring(node) if isinstance(node, Definition) else None
    params = docstring_parser.parse(text or "").params
    return {p.arg_name: " ".join((p.description or "").split()).rstrip(".") for p in params}


def _literal(module: str, node: ast.expr | None) -> Any:
    """Evaluate a literal, or the name of one; anything else is an ``OBJECT``."""
    try:
        if isinstance(node, ast.Name):
            node = _assigned(module, node.id)
        return OBJECT if node is None else ast.literal_eval(node)
    except ValueError:  # a HamError is one too: a name that comes from what is no Python source
        return OBJECT


def _assigned(module: str, name: str) -> ast.expr | None:
    """Find the value of a module's constant, here or where it is imported from."""
    for node in _parsed(module)[1].body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return getattr(node, "value", None)
    home = _absolute(module, name)
    return None if home in (None, f"{module}.{name}") else _assigned(*home.rpartition(".")[::2])
