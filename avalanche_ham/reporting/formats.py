"""A filled table as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.layout import Block, Sheet
from avalanche_ham.reporting.table import Column

MISSING = "–"
NEAR = "≈"
CSV_COLUMNS = (
    "block", "row", "column", "mean", "std", "low", "high", "seeds", "missing", "failed",
    "no_data", "text", "paper", "paper_std", "best", "near",
)  # fmt: skip


def markdown(table: Sheet[Summary]) -> str:
    """Write a table as Markdown: a heading, a table per block, and the notes as a list."""
    parts = [f"## {table.title}"]
    for block in table.blocks:
        head, *rows = _grid(block, bold="**{}**".format)
        lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
        cells = [[word.replace("|", "\\|") for word in line] for line in lines]
        parts.append(f"### {block.title}")
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in cells))
    if table.notes:
        parts.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def latex(table: Sheet[Summary]) -> str:
    """Write a table as LaTeX: one ``tabular`` per block; needs the package booktabs."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(table.title)}}}"]
    for block in table.blocks:
        head, *rows = _grid(block, bold=r"\textbf{{{}}}".format, clean=escape)
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
        lines.append(rf"\multicolumn{{{len(head)}}}{{l}}{{{escape(block.title)}}} \\")
        lines += [" & ".join(head) + r" \\", r"\midrule"]
        lines += [" & ".join(row) + r" \\" for row in rows]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    lines += [rf"\par\footnotesize {escape(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def comma_separated(table: Sheet[Summary]) -> str:
    """Write a table as CSV, a line per cell, numbers unrounded; without the notes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for block in table.blocks:
        for row in block.rows:
            near_ones = row.near or (False,) * len(row.cells)
            marks = zip(row.best, near_ones)
            for column, cell, (best, near) in zip(block.columns, row.cells, marks):
                where = (block.title, row.label, column.title)
                numbers = (cell.mean, cell.std, *(cell.interval or ("", "")))
                counts = (cell.n, cell.missing, cell.failed, int(cell.no_data))
                rest = (cell.text, *(cell.paper or ("", "")), int(best), int(near))
                writer.writerow((*where, *numbers, *counts, *rest))
    return stream.getvalue()


FORMATS: dict[str, Callable[[Sheet[Summary]], str]] = {
    "markdown": markdown,
    "csv": comma_separated,
    "latex": latex,
}
SUFFIXES = {".md": "markdown", ".csv": "csv", ".tex": "latex"}


def _grid(
    block: Block[Summary], *, bold: Callable[[str], str], clean: Callable[[str], str] = str
) -> list[tuple[str, ...]]:
    """Lay a block out as words, heading first; a column with the paper's values beside it."""
    grid = [[clean(word) for word in (block.row_title, *(row.label for row in block.rows))]]
    for i, column in enumerate(block.columns):
        grid.append([clean(column.title)])
        for row in block.rows:
            mean, rest = map(clean, cell_words(row.cells[i], column))
            close = f" {NEAR}" if row.near and row.near[i] else ""
            grid[-1].append((bold(mean) if row.best[i] else mean) + rest + clean(close))
        papers = [row.cells[i].paper for row in block.rows]
        if any(papers):
            printed = [Summary(*value) if value else Summary(text="") for value in papers]
            grid.append(["paper", *(clean("".join(cell_words(p, column))) for p in printed)])
    return list(zip(*grid))


def cell_words(cell: Summary, column: Column) -> tuple[str, str]:
    """Say a cell in words: its mean, and what stands behind it.

    The number of runs is said where some are missing or failed, else it stands in the notes.
    """
    if cell.text is not None:
        return cell.text, ""
    if cell.mean is None and cell.failed:
        return "failed", f" ({cell.failed} of {cell.total})"
    if cell.mean is None:
        return "no data" if cell.no_data else MISSING, ""
    spread = cell.std if column.deviation else None
    rest = "" if spread is None else f" ± {spread:.{column.digits}f}"
    if cell.n < cell.total:
        failed = f", {cell.failed} failed" if cell.failed else ""
        rest += f" ({cell.n} of {cell.total}{failed})"
    mean = round(cell.mean, column.digits) + 0.0  # what rounds to -0 has no sign
    return f"{mean:.{column.digits}f}", rest


LATEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "≈": r"$\approx$", "–": "--", "×": r"$\times$", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip


def escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return text.translate(str.maketrans(LATEX))
