"""Sec. 4.1: what is said about a run, all from its accuracy matrix.

``a[t][j]`` is the accuracy on task j's test set after training task t, a fraction;
above the diagonal, where j was not seen yet, anything may stand and nothing is read.
Results are in percent, and None where an entry that the formula needs is missing (None
or NaN), such as any forgetting with a single task. Formulas count tasks from 1 to T.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avalanche_ham.errors import OptionError, check_range

Matrix = Sequence[Sequence[float | None]] | NDArray[np.float64]
"""An accuracy matrix: T rows of T."""


def average_accuracy(matrix: Matrix) -> float | None:
    """AA (HAM, Sec. 4.1), also called ACC (PAM): ``1/T sum_j a[T][j]``.

    Every task counts the same. PILOT prints the mean over images instead, which differs
    where test sets differ in size, as in CUB-200.
    """
    return _mean(_percent(matrix)[-1])


def forgetting(matrix: Matrix) -> float | None:
    """FM (HAM, Sec. 4.1): ``1/(T-1) sum_{j<T} (max_{j<=t<T} a[t][j] - a[T][j])``.

    The peak leaves out the last row, as in Chaudhry et al. 2018, so a task that ends
    better than ever counts negative. Mammoth takes the peak over all rows and is never
    negative; Avalanche takes the first accuracy as the peak, see ``first_forgetting``.
    """
    a = _percent(matrix)
    last = len(a) - 1
    # max, not nanmax: a missing entry makes the result undefined
    return _mean([a[j:last, j].max() - a[last, j] for j in range(last)])


def backward_transfer(matrix: Matrix) -> float | None:
    """BWT (Lopez-Paz & Ranzato 2017; PAM): ``1/(T-1) sum_{j<T} (a[T][j] - a[j][j])``.

    For merging methods ``a[j][j]`` is measured after task j was merged.
    """
    a = _percent(matrix)
    return _mean((a[-1] - a.diagonal())[:-1])


def first_forgetting(matrix: Matrix) -> float | None:
    """Avalanche's forgetting: ``1/(T-1) sum_{j<T} (a[j][j] - a[T][j])``, which is -BWT.

    ``StreamForgetting`` gives it, as a fraction, at each evaluation that covers all tasks seen:
    ``a[j][j]`` is the accuracy last measured while task j was the newest trained, ``a[T][j]``
    that of this evaluation. Tasks not trained yet, and the newest, never count. Both values are
    kept by experience id, so evaluating the training stream overwrites the test stream's. The
    bare ``Forgetting`` is not reset at evaluations: it also counts the newest task if that was
    evaluated before its training.
    """
    transfer = backward_transfer(matrix)
    return None if transfer is None else -transfer


def average_anytime_accuracy(matrix: Matrix) -> float | None:
    """AAA (SD-LoRA): ``1/T sum_t 1/t sum_{j<=t} a[t][j]``, the mean AA over the run."""
    a = _percent(matrix)
    return _mean([a[t, : t + 1].mean() for t in range(len(a))])


def accuracy_so_far(matrix: Matrix) -> NDArray[np.float64]:
    """Give AA after each task: ``1/t sum_{j<=t} a[t][j]``, shape ``(T,)``; NaN where undefined."""
    a = np.tril(_percent(matrix))
    return a.sum(1) / np.arange(1, len(a) + 1)


def forgetting_so_far(matrix: Matrix) -> NDArray[np.float64]:
    """Give FM after each task, as if the run ended there, shape ``(T,)``; NaN where undefined.

    The first entry is NaN, as nothing can be forgotten yet.
    """
    a = _percent(matrix)
    peaks = np.maximum.accumulate(np.where(np.tri(len(a), dtype=bool), a, -np.inf))
    lost = np.tril(peaks[:-1] - a[1:])  # of tasks j < t, below the last row's diagonal
    counts = np.arange(1, len(a))
    return np.concatenate([[np.nan], lost.sum(1) / counts])


def summary(matrix: Matrix) -> dict[str, float | None]:
    """Give a record's ``aa``, ``fm``, ``bwt`` and ``aaa``."""
    return {
        "aa": average_accuracy(matrix),
        "fm": forgetting(matrix),
        "bwt": backward_transfer(matrix),
        "aaa": average_anytime_accuracy(matrix),
    }


def _percent(matrix: Matrix) -> NDArray[np.float64]:
    a = np.array(matrix, dtype=np.float64)  # None becomes NaN
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not a.size:
        raise OptionError("accuracy matrix", "T rows of T, T at least 1", a.shape)
    for value in a[np.tri(len(a), dtype=bool) & ~np.isnan(a)]:
        check_range("accuracy", float(value), 0, 1)
    return 100 * a


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float | None:
    values = np.asarray(values, dtype=np.float64)
    return None if not values.size or np.isnan(values).any() else float(values.mean())
