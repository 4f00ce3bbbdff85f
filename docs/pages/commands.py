"""The command line, as its own help tells it."""

from __future__ import annotations

import contextlib
import io
import os

from avalanche_ham.cli import main as cli

WIDTH = "88"  # what fits the page


def pages() -> dict[str, str]:
    """Give one page with the help of every command."""
    parser = cli._parser()
    (commands,) = (a.choices for a in parser._actions if isinstance(a.choices, dict))
    parts = ["# Command line\n\nWhat `ham COMMAND --help` prints."]
    for name in commands:
        parts.append(f"## ham {name}\n\n```text\n{_printed([name, '--help'])}\n```")
    return {"commands.md": "\n\n".join(parts) + "\n"}


def _printed(words: list[str]) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    stream = io.StringIO()
    try:
        with contextlib.redirect_stdout(stream), contextlib.suppress(SystemExit):
            cli.main(words)
    finally:
        os.environ.pop("COLUMNS")
        os.environ.update({} if before is None else {"COLUMNS": before})
    return stream.getvalue().strip()
