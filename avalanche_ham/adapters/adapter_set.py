"""All adapted layers of one network, their frozen terms and their scalars (Sec. 3.2.1)."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from avalanche_ham.adapters._assigning import (
    assign_branches,
    assign_terms,
    check_fits,
    check_foldable,
    check_names,
)
from avalanche_ham.adapters.branch import BranchMaker
from avalanche_ham.adapters.linear import AdaptedLinear, check_untouched, matching
from avalanche_ham.adapters.low_rank import LowRank, Update, dense, nothing
from avalanche_ham.adapters.terms import DenseTerms
from avalanche_ham.errors import OptionError, check_sequence


class AdapterSet(nn.Module):
    """Low-rank adaptation of one frozen network: one scalar per term, for the whole network.

    Every ``nn.Linear`` of ``model`` whose name ends with one of ``targets`` becomes an
    ``AdaptedLinear``, in place; all weights of ``model`` are frozen.

    ``scales`` holds one scalar a term, shape ``(G,)``, and one more, the last, while a branch
    is open.

    Args:
        model: the network that is adapted; names in updates are relative to it.
        targets: name suffixes, matched at a dot: ``"attn.qkv"`` or ``"mlp.fc1"``.
        terms: how past changes are kept, ``DenseTerms`` or ``LowRankTerms``.

    Raises:
        NoMatchError: if a target matches no linear layer.
        HamError: if a layer of the network is adapted already.
    """

    scales: nn.Parameter

    def __init__(
        self,
        model: nn.Module,
        targets: Sequence[str] = ("attn.qkv",),
        terms: type = DenseTerms,
    ) -> None:
        super().__init__()
        self.targets = check_sequence("targets", targets)
        if not self.targets:
            raise OptionError("targets", "at least one name", targets)
        self.is_open = False
        check_untouched("model", model)
        model.requires_grad_(False)
        self.layers: dict[str, AdaptedLinear] = {}
        for name in matching(model, self.targets):
            parent_name, _, child = name.rpartition(".")
            parent = model.get_submodule(parent_name)
            self.layers[name] = AdaptedLinear(getattr(parent, child), self, terms)
            setattr(parent, child, self.layers[name])
        first = next(iter(self.layers.values())).weight
        self.scales = nn.Parameter(first.new_zeros(0), requires_grad=False)

    @property
    def n_terms(self) -> int:
        """The number G of frozen terms."""
        return len(self.scales) - self.is_open

    @property
    def last_layer(self) -> str:
        """Name of the last adapted layer, where Eq. 3 compares adapters."""
        return list(self.layers)[-1]

    def open(
        self, make_branch: BranchMaker, *, scale: float = 1.0, train_scales: bool = True
    ) -> None:
        """Give every layer a trainable branch, and the set one more scalar.

        Args:
            make_branch: (layer name, layer) -> branch module, see ``low_rank_branches``. A
                branch without a weight (a router) maps ``(..., i)`` to ``(..., o)`` and stays
                open: it runs beside the weight, in training and evaluation.
            scale: start of the new scalar alpha_t.
            train_scales: whether the scalars of all terms and of the branch train. If not,
                the frozen terms are summed into one weight for the time of training.

        Raises:
            RuntimeError: if a branch is open already.
        """
        if self.is_open:
            raise RuntimeError("an adapter is open already; close it first")
        self.restore()
        for name, layer in self.layers.items():
            layer.branch = make_branch(name, layer)
            if not train_scales and self.n_terms:
                layer.fix()
        self._set_scales([*self.scales.tolist(), scale], trainable=train_scales)
        self.is_open = True

    def current(self) -> dict[str, LowRank]:
        """Copy the open branch, without its scalar, as an update.

        Raises:
            RuntimeError: if no branch is open.
            HamError: if the branch has no weight.
        """
        if not self.is_open:
            raise RuntimeError("no adapter is open")
        self.check_foldable()
        return {n: layer.branch.factors().detached() for n, layer in self.layers.items()}

    def check_foldable(self) -> None:
        """Raise HamError, naming it, if the open branch has no weight."""
        check_foldable(self.layers)

    def assign(self, update: Update, *, to: int | None = None) -> None:
        """Write an update into the open branch, or into the frozen term ``to``.

        The branch's parameters stay the same objects, so an optimiser keeps its state. Layers
        that the update does not name keep their values. If anything does not fit, nothing is
        written. Scalars stay.

        Args:
            update: for the branch factors as ``current`` gives them; for a term any change that
                its kind of terms can hold.
            to: index of the term; None means the open branch.

        Raises:
            RuntimeError: if no branch is open and ``to`` is None.
            NoMatchError: if the update names a layer that is not adapted.
            OptionError: if there is no term ``to``, or a change does not fit its layer.
            HamError: if the branch has no weight.
        """
        check_names(self.layers, update)
        if to is not None:
            assign_terms(self.layers, update, self._index_of(to))
            return
        if not self.is_open:
            raise RuntimeError("no adapter is open")
        self.check_foldable()
        assign_branches(self.layers, update)

    def close(self) -> dict[str, LowRank]:
        """Take the open branch away and give it as an update, without its scalar.

        Raises:
            RuntimeError: if no branch is open.
            HamError: if the branch has no weight; it stays open.
        """
        update = self.current()
        for layer in self.layers.values():
            layer.branch = layer.fixed = None
        self.is_open = False
        self._set_scales(self.scales.tolist()[:-1], trainable=False)
        return update

    def add(self, update: Update, *, scale: float, to: int | None = None) -> int:
        """Add a frozen update as a new term or onto term ``to``; set that term's scalar.

        If anything does not fit, nothing is written.

        Returns:
            The index of the term.

        Raises:
            RuntimeError: if a branch is open.
            NoMatchError: if the update names a layer that is not adapted.
            OptionError: if there is no term ``to``, or a change does not fit its layer.
        """
        if self.is_open:
            raise RuntimeError("close the open adapter before adding a term")
        check_names(self.layers, update)
        check_fits(self.layers, update, as_terms=True)
        index = self.n_terms if to is None else self._index_of(to)
        for name, layer in self.layers.items():
            change = update.get(name)
            layer.terms.add(nothing(layer.weight) if change is None else change, index)
        scales = self.scales.tolist()
        scales[index : index + 1] = [scale]
        self._set_scales(scales, trainable=False)
        return index

    def term(self, index: int) -> dict[str, LowRank | Tensor]:
        """Give one frozen term, without its scalar."""
        return {name: layer.terms.term(index) for name, layer in self.layers.items()}

    @torch.no_grad()
    def total(self) -> dict[str, Tensor]:
        """Compute the whole change that training sees now, dense: terms and open branch.

        Raises:
            HamError: if the branch has no weight.
        """
        self.check_foldable()
        return {name: layer.change(with_branch=self.is_open) for name, layer in self.layers.items()}

    def clear(self) -> None:
        """Forget all terms, the open branch and merged weights: the bare network is left."""
        for layer in self.layers.values():
            layer.branch = layer.fixed = layer.merged = None
            layer.terms = type(layer.terms)(layer.weight.detach())
        self.is_open = False
        self._set_scales([], trainable=False)

    @contextlib.contextmanager
    def merged(self, update: Update | None) -> Iterator[None]:
        """Run the body with the weights ``W0 + update`` (Eq. 8); None changes nothing.

        Re-entrant: an inner update replaces the outer one until it is left. What was there
        before comes back untouched, also when the body raises.
        """
        before = self.enter(update)
        try:
            yield
        finally:
            self.restore(before)

    @torch.no_grad()
    def enter(self, update: Update | None) -> dict[str, Tensor | None]:
        """Switch to the weights ``W0 + update`` until ``restore``; None changes nothing.

        Returns:
            What to give to ``restore`` to come back to the weights of before.

        Raises:
            NoMatchError: if the update names a layer that is not adapted.
            OptionError: if a change does not fit its layer.
            HamError: if the open branch has no weight, so that an update would hide it.
        """
        before = {name: layer.merged for name, layer in self.layers.items()}
        if update is not None:
            self.check_foldable()
            check_names(self.layers, update)
            check_fits(self.layers, update, as_terms=False)
            weights = {n: layer.weight.detach() for n, layer in self.layers.items()}
            for name, change in update.items():
                weights[name] = weights[name] + dense(change).to(weights[name])
            self.restore(weights)  # all at once, or none if a change does not fit
        return before

    def restore(self, before: Mapping[str, Tensor | None] | None = None) -> None:
        """Go back to what ``enter`` found, or else leave all merged weights."""
        for name, layer in self.layers.items():
            layer.merged = None if before is None else before[name]

    def _index_of(self, term: int) -> int:
        """Give a term's index as an int, of whatever kind it was (numpy's, a tensor)."""
        try:
            index = operator.index(term)
        except TypeError:
            index = -1
        if not 0 <= index < self.n_terms:
            raise OptionError("to", f"the index of one of {self.n_terms} terms", term)
        return index

    def _set_scales(self, values: list[float], *, trainable: bool) -> None:
        fresh = torch.tensor(values, dtype=self.scales.dtype, device=self.scales.device)
        self.scales = nn.Parameter(fresh, requires_grad=trainable)

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        saved = state.get(prefix + "scales")
        if saved is not None and not self.is_open:
            self._set_scales([0.0] * len(saved), trainable=False)
        super()._load_from_state_dict(state, prefix, *args)
