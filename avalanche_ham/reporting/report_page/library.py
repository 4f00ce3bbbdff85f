"""Vega, Vega-Lite and vega-embed as one script, from the package ``vl-convert-python``."""

from __future__ import annotations

from avalanche_ham.errors import HamError


def library() -> str:
    """Give the script, which defines ``vegaEmbed``.

    Raises:
        HamError: if the package is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        words = "report: needs vl-convert-python; pip install 'avalanche-ham[report]'"
        raise HamError(words) from error
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
