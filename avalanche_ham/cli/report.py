"""``ham report``: all records of a folder as one page."""

from __future__ import annotations

from pathlib import Path

from avalanche_ham.cli.report_options import check_file
from avalanche_ham.files import write_whole


def report(records: Path, out: Path) -> Path:
    """Write the page; gives its path.

    Raises:
        HamError: for bad input, before anything is written.
    """
    check_file("out", out)
    from avalanche_ham.reporting.report_page import report_page

    text = report_page(records)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text.encode())
    return out
