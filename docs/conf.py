"""Sphinx's settings. What follows from the package is written anew before every build (pages/)."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import pages  # noqa: E402
from pages import mathml  # noqa: E402

import avalanche_ham  # noqa: E402

warnings.filterwarnings("ignore", message="no QP solver found")  # Avalanche asks for one

project = "avalanche_ham"
author = "the avalanche_ham authors"
copyright = author
version = release = avalanche_ham.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["site", "equations"]
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_math_renderer = "mathml"  # drawn by the browser: no script, no network

myst_enable_extensions = ["dollarmath", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # as they are committed; tests execute them

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
copybutton_exclude = ".linenos, .gp, .go"
highlight_language = "none"  # literal blocks are formulas and folders as often as Python


def setup(app: Any) -> None:
    """Write the pages that follow from the package, before any page is read."""
    mathml.register(app)
    app.connect("builder-inited", lambda app: pages.write(Path(app.srcdir)))
