"""Sec. 3.2.2: the scalar of a group that one more adapter joins.

Its matrices are concatenated (Eq. 6) by ``adapters.concatenate``.
"""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor

from avalanche_ham.errors import check_range

Scalar = TypeVar("Scalar", float, Tensor)


def running_mean(alpha_group: Scalar, members: int, alpha_new: Scalar) -> Scalar:
    """Average a group's scalar with a new member's (Sec. 3.2.2, Eq. 4).

    ``alpha_G <- (n_G * alpha_G + alpha_t) / (n_G + 1)``. Every task trains ``alpha_G``,
    so this is the plain mean of the members' scalars only if no task moved it in
    between.

    Args:
        alpha_group: the group's scalar after the task was trained.
        members: how many adapters the group holds so far, n_G, at least 1; a new group
            takes the scalar of its first member as it is.
        alpha_new: the scalar of the adapter that joins.

    Raises:
        OptionError: if ``members < 1``.
    """
    check_range("members", members, 1, math.inf)
    return (members * alpha_group + alpha_new) / (members + 1)
