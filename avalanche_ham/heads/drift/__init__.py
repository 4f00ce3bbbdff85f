"""Readouts whose statistics follow the features when a task moves them."""

from avalanche_ham.heads.drift.moves import (
    KernelShift,
    MeanShift,
    Move,
    RidgeMap,
    kernel_shift,
    mean_shift,
    ridge_map,
)
from avalanche_ham.heads.drift.readouts import (
    FollowingDiscriminant,
    FollowingMeans,
    lda_drift,
    lda_sdc,
    lda_shift,
    ncm_drift,
)

__all__ = [
    "FollowingDiscriminant",
    "FollowingMeans",
    "KernelShift",
    "MeanShift",
    "Move",
    "RidgeMap",
    "kernel_shift",
    "lda_drift",
    "lda_sdc",
    "lda_shift",
    "mean_shift",
    "ncm_drift",
    "ridge_map",
]
