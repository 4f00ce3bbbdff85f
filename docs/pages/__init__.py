"""The pages that follow from the package, its registries and its records."""

from __future__ import annotations

from pathlib import Path

from pages import api, commands, copies, methods, tables

__all__ = ["write"]


def write(docs: Path) -> None:
    """Write them below ``docs/generated``; what did not change keeps its time.

    Args:
        docs: the folder of the documentation, in the repository.
    """
    folder = docs / "generated"
    pages: dict[str, str] = {}
    for part in (methods, tables, commands, api):
        pages |= part.pages()
    for name, text in pages.items():
        _write(folder / name, text)
    copied = copies.copy(docs.parent, folder)
    known = {folder / name for name in pages} | copied
    for path in folder.rglob("*"):
        if path.is_file() and path not in known:
            path.unlink()  # of a method that is no more


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
