"""Pages that stand elsewhere in the repository: copied, with links that hold where they are now."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

PAGES = {  # file of the repository -> file below docs/generated
    "CONTRIBUTING.md": "extending.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "experiments/README.md": "results.md",
    "avalanche_ham/backbones/EMBEDDED.md": "embedded.md",
}
REPORTS = Path(__file__).parents[2] / "experiments"
PAGES |= {
    f"experiments/{path.name}": f"report_{path.stem.lower()}.md"
    for path in sorted(REPORTS.glob("*.md"))
    if path.stem != "README"
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def copy(root: Path, folder: Path) -> set[Path]:
    """Copy pages, their pictures, and the notebooks as they are committed.

    Args:
        root: the repository.
        folder: ``docs/generated``.

    Returns:
        The files that this gave.
    """
    written = set()
    for source, name in PAGES.items():
        text, pictures = linked((root / source).read_text("utf-8"), root / source, root)
        for picture in pictures:
            written.add(_copied(picture, folder / "pictures" / picture.name))
        (folder / name).write_text(text, "utf-8")
        written.add(folder / name)
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        written.add(_copy_notebook(notebook, folder / "notebooks" / notebook.name, root))
    return written


def _copy_notebook(source: Path, target: Path, root: Path) -> Path:
    notebook = json.loads(source.read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text, _ = linked("".join(cell["source"]), source, root, up="../")
            cell["source"] = text
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(notebook), "utf-8")
    return target


def linked(text: str, source: Path, root: Path, up: str = "") -> tuple[str, list[Path]]:
    """Mend the links of a page: to a page of this site, or the plain name of a file.

    Args:
        text: the page.
        source: the file that it comes from.
        root: the repository.
        up: the way to ``docs/generated`` from where the page will be.

    Returns:
        The page as it is in ``docs/generated``, and the pictures that it shows.
    """
    pictures: list[Path] = []

    def mended(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        file = (source.parent / path).resolve()
        if mark:
            pictures.append(file)
            return f"![{words}](pictures/{file.name})"
        place = _place(file, root)
        if place is None:
            plain = words.strip("`")
            return f"`{plain}`" if plain == path else f"{words} (`{file.relative_to(root)}`)"
        return f"[{words}]({up}{place}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(p if p.startswith("```") else LINK.sub(mended, p) for p in parts), pictures


def _place(file: Path, root: Path) -> str | None:
    """Give where a file of the repository is, seen from ``docs/generated``."""
    name = file.relative_to(root).as_posix()
    if name in PAGES:
        return PAGES[name]
    if name.endswith(".ipynb"):
        return f"notebooks/{file.name}"
    return f"../{name.removeprefix('docs/')}" if name.startswith("docs/") else None


def _copied(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target
