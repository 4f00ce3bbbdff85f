"""The heads by name, to be read without importing torch.

A head trained with a local loss compares logits that were never trained against each other; the
closed-form readouts have no such gap. Those of ``heads.drift`` also follow the features of old
classes where a task moves them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from avalanche_ham.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from avalanche_ham.heads.readout import Readout

HEADS: dict[str, str] = {  # name -> what makes the readout, empty for the trained head
    "linear": "",
    "ncm": "avalanche_ham.heads.ncm.NearestClassMean",
    "ridge": "avalanche_ham.heads.ridge.RidgeReadout",
    "lda": "avalanche_ham.heads.lda.LinearDiscriminant",
    "lda_drift": "avalanche_ham.heads.drift.readouts.lda_drift",
    "ncm_drift": "avalanche_ham.heads.drift.readouts.ncm_drift",
    "lda_shift": "avalanche_ham.heads.drift.readouts.lda_shift",
    "lda_sdc": "avalanche_ham.heads.drift.readouts.lda_sdc",
}


def split_heads(head: str) -> tuple[str, ...]:
    """Split ``"linear,ridge"`` into names, each once.

    Raises:
        UnknownNameError: if a name is none of ``HEADS``.
        OptionError: if it is no text.
    """
    if not isinstance(head, str):
        raise OptionError("head", "names, separated by commas", head)
    names = tuple(dict.fromkeys(word.strip() for word in head.split(",")))
    for name in names:
        if name not in HEADS:
            raise UnknownNameError("head", name, HEADS)
    return names


def create_readout(
    name: str, in_features: int, n_classes: int, *, seed: int = 0, **options: Any
) -> Readout | None:
    """Make the readout that ``--head`` names; ``linear`` has none (the trained head predicts).

    Args:
        name: of ``HEADS``.
        in_features, n_classes, seed: see ``Readout``.
        options: of its class or function.
    """
    if not HEADS[name]:
        return None
    module, _, attribute = HEADS[name].rpartition(".")
    readout = getattr(importlib.import_module(module), attribute)
    return readout(in_features, n_classes, seed=seed, **options)
