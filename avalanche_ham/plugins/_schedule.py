"""Where a user's learning rates stand: settings of the optimiser's groups, schedulers' counts."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from avalanche_ham.plugins._rates import users_groups


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Copy what the groups that the optimiser was made with have beside their parameters."""
    return [
        copy.deepcopy({k: v for k, v in group.items() if k not in ("params", "param_names")})
        for group in users_groups(optimizer)
    ]


def put_settings(optimizer: Optimizer, settings: list[dict[str, Any]]) -> None:
    """Go back to what ``settings_of`` gave; a setting that has come since goes."""
    for group, saved in zip(users_groups(optimizer), settings):
        kept = {k: group[k] for k in ("params", "param_names") if k in group}
        group.clear()
        group.update(kept | copy.deepcopy(saved))


def schedule_of(optimizer: Optimizer, schedulers: Iterable[LRScheduler]) -> dict[str, Any]:
    """Give rates and counts as plain data, which JSON keeps: what else there is never moves."""
    groups = [_plain_entries(settings) for settings in settings_of(optimizer)]
    states = [_plain_entries(one.state_dict()) for one in schedulers]
    kinds = [type(one).__name__ for one in schedulers]
    return copy.deepcopy({"groups": groups, "kinds": kinds, "schedulers": states})


def put_schedule(
    optimizer: Optimizer, schedulers: list[LRScheduler], saved: dict[str, Any]
) -> None:
    """Go on from what ``schedule_of`` gave, with schedulers of the same kinds."""
    saved = copy.deepcopy(saved)
    for group, settings in zip(users_groups(optimizer), saved["groups"], strict=True):
        group.update(settings)
    for one, state in zip(schedulers, saved["schedulers"], strict=True):
        one.load_state_dict({**one.state_dict(), **state})


def _plain_entries(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or type(value) in (bool, int, float, str)
