"""Sec. 3.2.2: put the new adapter into a group: compare, assign, prune, concatenate, average."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from avalanche.training.plugins import SupervisedPlugin
from torch import Tensor

from avalanche_ham.adapters import AdapterSet, LowRank, Update, concatenate
from avalanche_ham.adapters.low_rank import scaled
from avalanche_ham.adapters.slots import SLOTS, join_slots, rows_of, split_slots
from avalanche_ham.errors import HamError, OptionError, StateError, check_range
from avalanche_ham.grouping import running_mean, similarities
from avalanche_ham.grouping.consolidation import prune_update
from avalanche_ham.grouping.registry import MembersMerger, check_within, make_assignment
from avalanche_ham.merging import damped_weight
from avalanche_ham.plugins._order import check_order
from avalanche_ham.state import Archive


class AdapterGroupingPlugin(SupervisedPlugin, supports_distributed=True):
    """After each experience, close the open adapter and consolidate it into a group.

    The steps are those of Sec. 3.2.2: similarity on the last adapted layer (Eq. 3), group
    assignment, running mean of the alphas (Eq. 4), magnitude pruning of the new adapter
    (Eq. 5), concatenation with the group's adapter (Eq. 6). With a ``damping`` the pruned adapter
    is scaled in between (its B); where a group's members merge otherwise, that is what merges.

    ``memory`` holds the adapters of all experiences as they joined (``adapters``), the group of
    each (``groups``), the similarities seen by each (``similarities``) and the groups' alphas
    (``alphas``).

    Args:
        adapters: with an adapter open while an experience trains.
        threshold: smallest cosine similarity that counts as alike, in [-1, 1].
        max_groups: largest number of groups, at least 1.
        keep: fraction of each factor's entries that survives pruning, in (0, 1].
        assignment: ``similarity`` (the paper's rule), ``opened_similarity``,
            ``orthogonality`` or ``none``, see ``make_assignment``.
        within: how a group's members combine: ``concatenate`` (Eq. 6), or ``linear`` or
            ``ties``, see ``MembersMerger``.
        assign: similarities ``(G,)`` -> group or None for a new one, instead of
            ``assignment``.
        slots: parts of a fused qkv that have factors of their own, as in
            ``AlphaBalancingPlugin``: each is pruned and merged alone, and the last one in the
            network alone is compared.
        keep_unpruned: also store the adapters as they were trained (``unpruned``).
        damping: weight of every adapter but the first, see ``damped_weight``; 1 is the paper's.

    Raises:
        OptionError, UnknownNameError: if an argument does not fit.
    """

    place = 1  # among HAM's plugins

    def __init__(
        self,
        adapters: AdapterSet,
        *,
        threshold: float = 0.5,
        max_groups: int = 2,
        keep: float = 0.6,
        assignment: str = "similarity",
        within: str = "concatenate",
        assign: Callable[[Tensor], int | None] | None = None,
        slots: Sequence[str] | None = None,
        keep_unpruned: bool = False,
        damping: float | str = 1.0,
    ) -> None:
        super().__init__()
        damped_weight(damping, 1)  # says now, not after training, if there is no such damping
        check_range("keep", keep, 0.0, 1.0, open_low=True)
        self.adapters, self.keep, self.keep_unpruned = adapters, keep, keep_unpruned
        check_within(within)
        self.within, self.damping = within, damping
        self.slots = None if slots is None else tuple(slots)
        rule = make_assignment(assignment, threshold=threshold, max_groups=max_groups)
        if assign is not None and not callable(assign):
            raise OptionError("assign", "a function of the similarities, or None", assign)
        self.assign = rule if assign is None else assign
        self._merged: dict[int, MembersMerger] = {}  # by group, unless concatenated
        self.memory: dict[str, Any] = {
            "adapters": Archive(),
            "groups": [],
            "similarities": [],
            "alphas": [],
        }

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Check that the plugins stand in the order of their work, and know the model's groups.

        Raises:
            StateError: if the model holds other groups than ``memory``, as after its
                ``load_state_dict``.
        """
        check_order(strategy, self.adapters)
        known, held = len(self.memory["alphas"]), self.adapters.n_terms
        if known != held:
            raise StateError(
                f"the model holds {held} groups, and AdapterGroupingPlugin knows {known}: a "
                "state_dict lacks what is known of tasks; save_tree and load_tree keep it"
            )

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Consolidate the adapter of the experience that has ended."""
        self.consolidate()

    @torch.no_grad()
    def consolidate(self) -> int:
        """Close the open adapter and run Eq. 3 to 6 on it; gives the index of its group."""
        for layer in self.adapters.layers.values():
            theirs = getattr(layer.branch, "slots", self.slots)
            if theirs != self.slots:
                given = f"AdapterGroupingPlugin has {self.slots}, the adapter {theirs}"
                raise HamError(f"slots: {given}; give both plugins the same")
        alpha = float(self.adapters.scales[-1])
        return self.adopt(self.adapters.close(), alpha=alpha)

    @torch.no_grad()
    def adopt(self, trained: Update, *, alpha: float) -> int:
        """Run Eq. 3 to 6 on an adapter, trained here or brought along (``load_peft``).

        Args:
            trained: low-rank changes of the adapted layers.
            alpha: its importance.

        Returns:
            The index of the group that it joined or opened.

        Raises:
            OptionError: if a change is dense, or does not fit the slots, or ``assign`` gives
                neither None nor the index of a group.
            UnknownNameError: if the last adapted layer, where adapters are compared, has none.
        """
        for name, change in trained.items():
            if not isinstance(change, LowRank):
                raise OptionError(f"the change of {name}", "low-rank", "a dense one")
        weight = damped_weight(self.damping, len(self.memory["adapters"]) + 1)
        joining = scaled(prune_update(trained, self.keep, self.slots), weight)
        adapters, memory = self.adapters, self.memory
        alphas = [*adapters.scales.tolist(), alpha]
        alike = self._similarities(trained)
        choice = self._chosen(alike)
        if choice is not None:
            alpha = running_mean(alphas[choice], self.members(choice), alpha)
        group = self._put(joining, scale=alpha, to=choice)
        memory["adapters"].append(_off_device(joining))
        memory["groups"].append(group)
        memory["similarities"].append(alike.tolist())
        memory["alphas"] = adapters.scales.tolist()
        if self.keep_unpruned:
            record = {"update": _off_device(trained), "alpha": alphas[-1]}
            memory.setdefault("unpruned", Archive()).append(record)
        return group

    def _chosen(self, alike: Tensor) -> int | None:
        """Ask which group to join; an index of any kind (numpy's, a tensor) as an int."""
        choice = self.assign(alike)
        if choice is None:
            return None
        try:
            group = -1 if isinstance(choice, bool) else operator.index(choice)
        except TypeError:  # a fraction, text, a tensor of several numbers
            group = -1
        if not 0 <= group < self.adapters.n_terms:
            last = self.adapters.n_terms - 1
            index = f", or the index of a group, from 0 to {last}" if last >= 0 else ""
            allowed = f"None for a new group{index}"
            raise OptionError("what assign gives", allowed, choice)
        return group

    def _similarities(self, trained: Update) -> Tensor:
        """Compare with every group at the last adapted layer (Eq. 3)."""
        layer = self.adapters.last_layer
        terms = self.adapters.layers[layer].terms
        groups: list[Update] = [{layer: terms.term(j)} for j in range(self.adapters.n_terms)]
        if self.slots is not None and layer in trained:
            last = max(self.slots, key=SLOTS.index)
            trained = {layer: rows_of(trained[layer], last)}
            groups = [{layer: rows_of(group[layer], last)} for group in groups]
        return similarities(trained, groups, layer)

    def _put(self, joining: Update, *, scale: float, to: int | None) -> int:
        """Let a group have one more member (Eq. 6), or open one; gives its index."""
        if self.within == "concatenate":  # products of concatenated factors add up
            return self.adapters.add(joining, scale=scale, to=to)
        device = self.adapters.scales.device
        group = self.adapters.n_terms if to is None else to
        merger = self._merged.setdefault(group, MembersMerger(self.within, self.slots))
        merger.add({n: LowRank(*(t.to(device) for t in c)) for n, c in joining.items()})
        change = merger.step(None if to is None else self.adapters.term(group))
        return self.adapters.add(change, scale=scale, to=to)

    def members(self, group: int) -> int:
        """Number of adapters in a group."""
        return self.memory["groups"].count(group)

    def factors(self, group: int) -> dict[str, LowRank]:
        """Give a group's adapter as factors: its members' in arrival order, or their merge."""
        if group in self._merged:
            return self._merged[group].factors()
        pairs = zip(self.memory["adapters"], self.memory["groups"], strict=True)
        mine = [update for update, owner in pairs if owner == group]
        device = self.adapters.scales.device  # what was loaded from a state is on the CPU
        changes: dict[str, list[list[Any]]] = {}  # a member's, slot by slot
        for update in mine:
            for name, change in update.items():
                there = LowRank(change.a.to(device), change.b.to(device))
                changes.setdefault(name, []).append(split_slots(there, self.slots))
        return {
            name: cast(LowRank, join_slots([concatenate(c) for c in zip(*members)], self.slots))
            for name, members in changes.items()
        }

    @torch.no_grad()
    def rebuild(self) -> None:
        """Fill the adapter set's terms again from ``memory``, in arrival order."""
        self._merged = {}
        known: set[int] = set()
        for update, group in zip(self.memory["adapters"], self.memory["groups"], strict=True):
            alpha = self.memory["alphas"][group]
            self._put(update, scale=alpha, to=group if group in known else None)
            known.add(group)


def _off_device(update: Update) -> Update:
    """Move past adapters to main memory: the device's does not grow with the tasks."""
    return {name: LowRank(*(t.cpu() for t in change)) for name, change in update.items()}
