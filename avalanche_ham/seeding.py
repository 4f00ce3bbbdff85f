"""Random numbers are derived from a seed and a place, never carried along.

So a resumed run needs no stored generator state, and a user's own random state is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import random
from collections.abc import Iterator

import numpy as np
import torch

from avalanche_ham.errors import check_whole


def derive(seed: int, *place: int | str) -> int:
    """Derive a 63-bit seed from a seed and the place it is for, such as ``("train", task)``.

    Raises:
        OptionError: if the seed is no whole number.
    """
    check_whole("seed", seed)
    # as Python's own: numpy's numbers and strings write themselves in another way
    where = (str(p) if isinstance(p, str) else operator.index(p) for p in place)
    digest = hashlib.sha256(repr((operator.index(seed), *where)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *place: int | str) -> torch.Generator:
    """Give a CPU generator seeded by ``derive``."""
    return torch.Generator().manual_seed(derive(seed, *place))


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Leave the global generators of torch, CUDA, numpy and random as they were found."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextlib.contextmanager
def forked(seed: int, *place: int | str) -> Iterator[None]:
    """Run the body with all global generators seeded by ``derive``, then restore them."""
    value = derive(seed, *place)
    with preserved():
        random.seed(value)
        np.random.seed(value % 2**32)
        torch.manual_seed(value)
        yield
