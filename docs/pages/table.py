"""A table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; empty where there is no row.

    Args:
        head: the titles of the columns.
        rows: cells in Markdown; a bar in them is escaped.
    """
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if not lines:
        return ""
    lines = [list(head), ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
