"""Figures 2 and 3 and an extra one, each with the numbers behind it as CSV."""

from __future__ import annotations

from pathlib import Path

from avalanche_ham.reporting.comparison import figure_2, figure_3
from avalanche_ham.reporting.formats import comma_separated
from avalanche_ham.reporting.plot_groups import groups_table, plot_groups
from avalanche_ham.reporting.plots import plot_lengths, plot_times
from avalanche_ham.reporting.style import save, styled
from avalanche_ham.reporting.table import FilledTable, Table
from avalanche_ham.runs.archive import Archive

FIGURES = {
    "2": figure_2,
    "3": figure_3,
    "extra": groups_table,
}  # name -> the runs it shows


def draw(
    name: str, filled: FilledTable, table: Table, archive: Archive, folder: Path
) -> list[Path]:
    """Draw a figure into a folder.

    Args:
        name: one of ``FIGURES``.
        filled: the figure's numbers, with notes.
        table: the same before it was filled.
        archive: the records.
        folder: made if it does not exist.

    Returns:
        The paths of the pictures (PNG and SVG), of the numbers (CSV) and of the notes.
    """
    stem = folder / f"figure_{name}"
    with styled():
        if name == "2":
            paths = save(plot_lengths(filled), stem)
        elif name == "3":
            paths = save(plot_times(filled), stem)
        else:
            paths = []
            for index, block in enumerate(table.blocks, 1):
                part = f"figure_{name}_{index}" if len(table.blocks) > 1 else stem.name
                paths += save(plot_groups(block, archive), folder / part)
    numbers, notes = stem.with_suffix(".csv"), stem.with_suffix(".txt")
    numbers.write_text(comma_separated(filled), encoding="utf-8")
    notes.write_text("\n".join([filled.title, *filled.notes]) + "\n", encoding="utf-8")
    return [*paths, numbers, notes]
