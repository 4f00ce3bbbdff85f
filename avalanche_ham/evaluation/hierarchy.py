"""Table 4: does a group's adapter serve a task better than the task's own adapter?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from avalanche_ham.adapters.low_rank import Update, scaled
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.merging import damped_weight
from avalanche_ham.state import count_stored


@torch.no_grad()
def hierarchy(strategy: Any, experiences: Sequence[Any]) -> dict[str, Any] | None:
    """Evaluate every task under its own adapter, its group's and the merged one (Sec. 4.3).

    Each accuracy is that of one task's test images among all classes seen, with the final
    head or readout, under one of

    - ``individual``: ``W0 + alpha_t dW_t``, alpha_t as trained, before pruning;
    - ``pruned``: the same with the pruned adapter, whole where merging damps it;
    - ``group``: ``W0 + alpha_G dW_G`` of the group that the task belongs to;
    - ``merged``: the final model (Eq. 8).

    Args:
        strategy: after training; HAM that keeps its adapters as they were before pruning
            (``keep_unpruned``), else there is nothing to say.
        experiences: all T test experiences, in order.

    Returns:
        For each of the four a list of T fractions in [0, 1], and for each task its group
        (``groups``) and the non-zero entries of its adapter before and after pruning
        (``parameters``, ``parameters_pruned``); None for any other strategy.
    """
    grouping: Any = getattr(strategy, "grouping", None)
    unpruned = grouping.memory.get("unpruned") if grouping is not None else None
    if not unpruned:
        return None
    adapters, groups = grouping.memory["adapters"], grouping.memory["groups"]
    alphas = [entry["alpha"] for entry in unpruned]
    weights = [damped_weight(grouping.damping, task + 1) for task in range(len(adapters))]
    shared = [scaled(grouping.factors(j), a) for j, a in enumerate(grouping.memory["alphas"])]
    own = [scaled(entry["update"], a) for entry, a in zip(unpruned, alphas)]
    pruned = [scaled(u, a / weight) for u, a, weight in zip(adapters, alphas, weights)]
    with strategy.evaluation_weights():
        merged = accuracy_row(strategy, experiences).accuracy
    return {
        "individual": _each(strategy, own, experiences),
        "pruned": _each(strategy, pruned, experiences),
        "group": _each(strategy, [shared[j] for j in groups], experiences),
        "merged": merged,
        "groups": list(groups),
        "parameters": [count_stored(entry["update"]) for entry in unpruned],
        "parameters_pruned": [count_stored(update) for update in adapters],
    }


def _each(strategy: Any, updates: Sequence[Update], experiences: Sequence[Any]) -> list[float]:
    found = []
    for update, experience in zip(updates, experiences, strict=True):
        with strategy.adapters.merged(update):
            found += accuracy_row(strategy, [experience]).accuracy
    return found
