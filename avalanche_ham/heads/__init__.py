"""Classifiers: a trained incremental head, closed-form readouts, and the loss scope."""

from avalanche_ham.heads.linear import IncrementalHead
from avalanche_ham.heads.loss import SCOPES, ScopedCrossEntropy
from avalanche_ham.heads.readout import (
    HEADS,
    NearestClassMean,
    RidgeReadout,
    create_readout,
)

__all__ = [
    "HEADS",
    "SCOPES",
    "IncrementalHead",
    "NearestClassMean",
    "RidgeReadout",
    "ScopedCrossEntropy",
    "create_readout",
]
