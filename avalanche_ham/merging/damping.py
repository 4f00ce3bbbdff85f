"""Damped merging: an adapter is trained whole and enters the merge scaled, the first one whole."""

from __future__ import annotations

import math
from collections.abc import Callable

from avalanche_ham.errors import OptionError, UnknownNameError, check_range

DAMPINGS: dict[str, Callable[[int], float]] = {  # name -> (task t, from 1) -> weight
    "sqrt": lambda task: 1 / math.sqrt(task),
    "inverse": lambda task: 1 / task,
}


def damped_weight(damping: float | str, task: int, *, option: str = "damping") -> float:
    """Give the weight a_t with which the adapter of a task enters the merge.

    ``a_1 = 1``; from the second task on the number itself, ``1 / sqrt(t)`` or ``1 / t``. So a
    task moves the features of all earlier ones by only a part of what it has learned. SLAO
    (https://arxiv.org/abs/2512.23017) moves its merged B by ``1 / sqrt(t)`` towards the newest,
    Perturb-and-Merge (https://arxiv.org/abs/2505.22389) solves for one scalar a task.

    Args:
        damping: a number in (0, 1], 1 being plain merging, or a name of ``DAMPINGS``.
        task: t, from 1.
        option: what errors call the damping.

    Raises:
        OptionError, UnknownNameError: if the damping is neither.
    """
    number = "a number in (0, 1]"
    if isinstance(damping, str):
        if damping not in DAMPINGS:
            raise UnknownNameError(option, damping, DAMPINGS, or_else=number)
        return DAMPINGS[damping](task)
    if isinstance(damping, bool) or not isinstance(damping, (int, float)):
        raise OptionError(option, f"{number} or one of {', '.join(DAMPINGS)}", damping)
    check_range(option, damping, 0.0, 1.0, open_low=True)
    return 1.0 if task == 1 else float(damping)
