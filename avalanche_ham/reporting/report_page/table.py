"""The page's table: a row per method and site, which a browser shows without any script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from avalanche_ham.reporting.report_page.estimate import Estimate, estimate
from avalanche_ham.reporting.report_page.provenance import options, provenance
from avalanche_ham.reporting.report_page.quantities import COSTS, METRICS, Number
from avalanche_ham.reporting.report_page.rows import Row

NUMBERS = {**METRICS, **COSTS}


def table(rows: Sequence[Row]) -> str:
    """Write the table as HTML."""
    titles = ["Method", *(number.title for number in NUMBERS.values()), "seeds"]
    heads = "".join(f'<th scope="col"><button>{escape(title)}</button></th>' for title in titles)
    heads += '<th scope="col" class="site"><button>where</button></th>'
    heads += '<th scope="col">runs</th>'
    body = "\n".join(map(_row, rows))
    return f'<table id="numbers"><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'


def _row(row: Row) -> str:
    label = escape(row.label)
    cells = [f'<th scope="row"><button>{label}</button></th>']
    cells += [_number(estimate(row.records, n.read), n) for n in NUMBERS.values()]
    cells.append(f'<td data-value="{len(row.runs)}">{len(row.runs)}</td>')
    cells.append(f'<td class="words site">{escape(row.site.title)}</td>')
    cells.append(f"<td>{_provenance(row)}</td>")
    about = f'id="{row.key}" data-site="{row.site.key}" data-label="{label.lower()}"'
    return f"<tr {about}>{''.join(cells)}</tr>"


def _number(found: Estimate, number: Number) -> str:
    value = "-Infinity" if found.mean is None else f"{found.mean:.6g}"
    return f'<td data-value="{value}">{found.words(number.digits)}</td>'


def _provenance(row: Row) -> str:
    lines = {"options": options(row.records[0])}
    for run in row.runs:
        about = provenance(run)
        seed = about.pop("seed")
        lines[f"seed {seed}"] = "; ".join(f"{name}: {word}" for name, word in about.items())
    terms = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in lines.items())
    return f"<details><summary>from</summary><dl>{terms}</dl></details>"
