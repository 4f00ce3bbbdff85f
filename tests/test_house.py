"""Which folder may import which, and where a module's tests lie."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import avalanche_ham

ROOT = Path(avalanche_ham.__file__).parent
FLOORS = (  # from the ground up; those on one floor may import each other downwards only
    ("errors", "files", "locks", "process", "_avalanche_home"),
    ("seeding", "state", "magnitude", "precision", "arrays"),
    ("adapters", "grouping", "merging", "heads", "penalties", "evaluation.metrics"),
    ("backbones", "benchmarks"),
    ("plugins", "strategies", "evaluation"),
    ("runs",),
    ("reporting",),
    ("cli",),
)


def modules() -> dict[str, Path]:
    """Name every module of the package by its dotted path below it."""
    paths = {p.relative_to(ROOT).with_suffix(""): p for p in ROOT.rglob("*.py")}
    return {".".join(n.parts).removesuffix(".__init__"): p for n, p in paths.items()}


NAMES = modules()


class Imports(ast.NodeVisitor):
    """Collect what a module imports, also inside functions, but not for type checkers alone."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._take(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            name = whole.removeprefix("avalanche_ham.")
            self._take(whole if name in NAMES else node.module or "")

    def _take(self, name: str) -> None:
        if name.startswith("avalanche_ham."):
            self.found.add(name.removeprefix("avalanche_ham."))


def imports_of(name: str) -> set[str]:
    visitor = Imports()
    visitor.visit(ast.parse(NAMES[name].read_text()))
    return visitor.found & set(NAMES)


def floor_of(name: str) -> int:
    """Give a module's floor: that of the longest entry that it lies in."""
    found = [
        (len(entry), floor)
        for floor, entries in enumerate(FLOORS)
        for entry in entries
        if name == entry or name.startswith(entry + ".")
    ]
    return max(found)[1]


INSIDE = sorted(n for n in NAMES if n not in ("__init__", "__main__"))


@pytest.mark.parametrize("name", INSIDE)
def test_no_import_runs_upwards(name):
    upwards = {other for other in imports_of(name) if floor_of(other) > floor_of(name)}
    assert not upwards


def test_no_import_runs_in_a_circle():
    left = {name: imports_of(name) - {name} for name in INSIDE}
    while free := [name for name, needed in left.items() if not needed & set(left)]:
        for name in free:
            del left[name]
    assert not left, {name: sorted(needed & set(left)) for name, needed in left.items()}


def test_no_two_folders_import_each_other():
    def folder(name: str) -> str:
        return name if name == "evaluation.metrics" else name.split(".")[0]

    pairs = {(folder(a), folder(b)) for a in INSIDE for b in imports_of(a)}
    both = {pair for pair in pairs if pair[0] != pair[1] and pair[::-1] in pairs}
    assert not both


TESTS = Path(__file__).parent
PLACES: dict[str, set[str]] = {}  # a module's own name -> the folders that have one
for _name, _path in modules().items():
    if _path.stem != "__init__":
        PLACES.setdefault(_path.stem.lstrip("_"), set()).add(str(_path.parent.relative_to(ROOT)))


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem)
def test_tests_lie_where_the_package_has_the_module_of_their_name(path):
    """A subject of several modules has a name of its own, in the folder of its main one."""
    folder = str(path.parent.relative_to(TESTS))
    assert folder in ("experiments", "stress") or (ROOT / folder).is_dir()
    assert folder in PLACES.get(path.stem.removeprefix("test_"), {folder})
