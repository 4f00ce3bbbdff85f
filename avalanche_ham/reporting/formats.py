"""A filled table as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.layout import Block, Sheet
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.table import Column

MISSING = "–"
CSV_COLUMNS = (
    "block", "row", "column", "mean", "std", "seeds", "missing", "failed", "no_data", "text",
    "paper", "paper_std", "best",
)  # fmt: skip


def markdown(table: Sheet[Summary]) -> str:
    """Write a table as Markdown: a heading, a table per block, and the notes as a list."""
    parts = [f"## {table.title}"]
    for block in table.blocks:
        head, *rows = _grid(block, bold="**{}**".format)
        lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
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
            for column, cell, best in zip(block.columns, row.cells, row.best):
                counts = (cell.n, cell.missing, cell.failed, int(cell.no_data))
                printed = cell.paper or ("", "")
                where = (block.title, row.label, column.title)
                line = (*where, cell.mean, cell.std, *counts, cell.text, *printed, int(best))
                writer.writerow(line)
    return stream.getvalue()


FORMATS: dict[str, Callable[[Sheet[Summary]], str]] = {
    "markdown": markdown,
    "csv": comma_separated,
    "latex": latex,
}
SUFFIXES = {".md": "markdown", ".csv": "csv", ".tex": "latex"}


def _grid(
    block: Block[Summary], *, bold: Callable[[str], str], clean: Callable[[str], str] = str
) -> list[list[str]]:
    """Lay a block out as words, heading first; a column with the paper's values beside it."""
    beside = [any(row.cells[i].paper for row in block.rows) for i in range(len(block.columns))]
    head = [block.row_title]
    for column, has_paper in zip(block.columns, beside):
        head += [column.title, "paper"] if has_paper else [column.title]
    lines = [[clean(word) for word in head]]
    for row in block.rows:
        line = [clean(row.label)]
        for column, cell, best, has_paper in zip(block.columns, row.cells, row.best, beside):
            mean, rest = cell_words(cell, column)
            line.append((bold(clean(mean)) if best else clean(mean)) + clean(rest))
            if has_paper:
                line.append(clean(value_words(cell.paper, column)))
        lines.append(line)
    return lines


def cell_words(cell: Summary, column: Column) -> tuple[str, str]:
    """Say a cell in words: its mean, and what stands behind it.

    The number of runs is said where some are missing or failed, else it stands in the notes.
    """
    if cell.text is not None:
        return cell.text, ""
    if cell.mean is None:
        if cell.failed:
            return "failed", f" ({cell.failed} of {cell.total})"
        if cell.no_data:
            return "no data", ""
        return (MISSING, "") if cell.total or cell.paper is None else ("", "")
    spread = cell.std if column.deviation else None
    rest = "" if spread is None else f" ± {spread:.{column.digits}f}"
    if cell.n < cell.total:
        failed = f", {cell.failed} failed" if cell.failed else ""
        rest += f" ({cell.n} of {cell.total}{failed})"
    return f"{cell.mean:.{column.digits}f}", rest


def value_words(value: Value | None, column: Column) -> str:
    """Say one of the paper's values."""
    if value is None:
        return ""
    std = "" if value.std is None else f" ± {value.std:.{column.digits}f}"
    return f"{value.mean:.{column.digits}f}{std}"


LATEX = str.maketrans(
  {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--", "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}",
  }
)  # fmt: skip


def escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return text.translate(LATEX)
