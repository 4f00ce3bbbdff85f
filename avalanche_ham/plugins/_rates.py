"""Parameter groups of our own beside a user's: they follow its rate, and schedulers miss them.

A scheduler knows the groups that the optimiser had when it was made. Groups added later stand
behind them, each with its ``own`` settings; all other settings are those of the group it
``follows``. A rate of its own holds where that group has its base rate, and moves with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def add_group(
    optimizer: Optimizer, params: list[Any], name: str, own: dict[str, Any], *, follows: int = 0
) -> None:
    """Add a named group of our own.

    Args:
        optimizer: of at least one group of the user's.
        params: parameters of the new group.
        name: what the group is called.
        own: settings that it does not share, such as ``lr`` at the base rate.
        follows: index of the user's group that gives all others.
    """
    first = optimizer.param_groups[follows]
    first.setdefault("initial_lr", first["lr"])  # as a scheduler would
    group = {"params": params, "name": name, "own": own, "follows": follows}
    optimizer.add_param_group(_shared(first) | group | own)


def follow(optimizer: Optimizer) -> None:
    """Give the groups of our own what a scheduler has made of those that they follow.

    The base rate is a group's ``initial_lr``, under a one-cycle policy its ``max_lr``.
    """
    for group in optimizer.param_groups:
        if "own" in group:
            first, own = optimizer.param_groups[group["follows"]], group["own"]
            group.update(_shared(first) | own)
            if "lr" in own:
                base = first.get("max_lr", first["initial_lr"])
                still = first["lr"] == base or not base
                group["lr"] = own["lr"] if still else own["lr"] * first["lr"] / base
                group["initial_lr"] = own["lr"]


def users_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    """List the groups that the optimiser was made with."""
    return [group for group in optimizer.param_groups if "own" not in group]


def narrow_schedulers(plugins: Iterable[Any], optimizer: Optimizer) -> None:
    """Let torch's schedulers that plugins hold see the user's groups alone.

    Many of them keep a value per group, and raise where there are more.
    """
    for scheduler in schedulers_of(plugins):
        if scheduler.optimizer is optimizer:
            scheduler.optimizer = _UsersGroups(optimizer)  # type: ignore[assignment]


def schedulers_of(plugins: Iterable[Any]) -> list[LRScheduler]:
    """List torch's schedulers that plugins have as an attribute, each ahead of its parts."""
    held = (value for plugin in plugins for value in vars(plugin).values())
    return [one for value in held for one in _with_parts(value)]


def _with_parts(value: Any) -> Iterator[LRScheduler]:
    if isinstance(value, LRScheduler):
        yield value
        for part in getattr(value, "_schedulers", ()):  # of a chain or a sequence
            yield from _with_parts(part)


class _UsersGroups:
    """An optimiser as if it had the user's groups alone."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.whole = optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return users_groups(self.whole)

    def __getattr__(self, name: str) -> Any:
        if name == "whole" or name.startswith("__"):  # copies and pickles are of this object
            raise AttributeError(name)
        return getattr(self.whole, name)


def _shared(group: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if k not in ("params", "param_names", "name")}
