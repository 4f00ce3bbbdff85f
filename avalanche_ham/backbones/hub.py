"""The hub that timm fetches weights from: out of reach, its cache alone is asked, and at once."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants

__all__ = ["cache_alone_where_offline"]


@contextlib.contextmanager
def cache_alone_where_offline() -> Iterator[None]:
    """Run the body in the hub's offline mode if its host cannot be looked up.

    Else it tries every file six times, which takes more than a minute and a screen of warnings,
    before it looks into its cache.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or _out_of_reach()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _out_of_reach() -> bool:
    if getproxies():  # which look names up themselves
        return False
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except (OSError, UnicodeError):
        return True
    return False
