"""Truths as text, for records: which test image was right."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np


def pack(right: Sequence[bool]) -> str:
    """Write truths as base64 of bits, eight to a byte, the first one highest."""
    return base64.b64encode(np.packbits(np.asarray(right, dtype=bool)).tobytes()).decode()


def unpack(text: str, count: int) -> np.ndarray:
    """Read what ``pack`` wrote: ``count`` truths, shape ``(count,)``, bool.

    >>> unpack(pack([True, False, True]), 3).tolist()
    [True, False, True]
    """
    bits = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(bits, count=count).astype(bool)
