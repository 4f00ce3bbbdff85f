"""Formulas as MathML, which browsers draw and screen readers read by themselves."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

FONT = "STIXTwoMath-Regular.ttf"  # static/site.css names it; not every system has one for formulas


def register(app: Any) -> None:
    """Add the renderer that ``html_math_renderer`` names."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("build-finished", _add_font)


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _display(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _add_font(app: Any, exception: Exception | None) -> None:
    found = importlib.util.find_spec("ziamath")
    if exception is None and app.builder.format == "html" and found and found.origin:
        static = Path(app.outdir, "_static")
        shutil.copyfile(Path(found.origin).parent / "fonts" / FONT, static / FONT)
