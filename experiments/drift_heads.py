"""The head ``lda_drift`` with other options, under names of their own.

So that one training serves all of them: what is imported from here is a head.
"""

from __future__ import annotations

from avalanche_ham.heads import HEADS, Readout
from avalanche_ham.heads.drift import lda_drift


def lda_drift_penalty_1(in_features: int, n_classes: int, *, seed: int = 0) -> Readout:
    """Make one that moves more."""
    return lda_drift(in_features, n_classes, penalty=1.0, seed=seed)


def lda_drift_penalty_10(in_features: int, n_classes: int, *, seed: int = 0) -> Readout:
    """Make one that moves less."""
    return lda_drift(in_features, n_classes, penalty=10.0, seed=seed)


def lda_drift_penalty_30(in_features: int, n_classes: int, *, seed: int = 0) -> Readout:
    """Make one that moves even less."""
    return lda_drift(in_features, n_classes, penalty=30.0, seed=seed)


def lda_drift_unmoved(in_features: int, n_classes: int, *, seed: int = 0) -> Readout:
    """Make one that does not move: what following brings is the difference to it."""
    return lda_drift(in_features, n_classes, penalty=1e9, seed=seed)


def lda_drift_shrinkage_02(in_features: int, n_classes: int, *, seed: int = 0) -> Readout:
    """Make one that trusts its covariance more."""
    return lda_drift(in_features, n_classes, shrinkage=0.02, seed=seed)


def lda_drift_shrinkage_30(in_features: int, n_classes: int, *, seed: int = 0) -> Readout:
    """Make one that trusts its covariance less."""
    return lda_drift(in_features, n_classes, shrinkage=0.3, seed=seed)


VARIANTS = {  # name -> what it is, as a table says it
    "lda_drift_penalty_1": "penalty 1",
    "lda_drift": "penalty 3",
    "lda_drift_penalty_10": "penalty 10",
    "lda_drift_penalty_30": "penalty 30",
    "lda_drift_shrinkage_02": "shrinkage 0.02",
    "lda_drift_shrinkage_30": "shrinkage 0.3",
}
HEADS.update(
    {name: f"{__name__}.{name}" for name in (*VARIANTS, "lda_drift_unmoved") if name not in HEADS}
)
