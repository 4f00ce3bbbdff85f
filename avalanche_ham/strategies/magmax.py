"""MagMax: one LoRA trained on and on; evaluation sees the largest of all its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from avalanche_ham.adapters import LowRank, Update, low_rank_branches
from avalanche_ham.adapters.low_rank import dense, moved
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import UnknownNameError, check_range
from avalanche_ham.merging.magmax import larger
from avalanche_ham.seeding import forked
from avalanche_ham.strategies._base import ContinualStrategy

SPACES = ("factors", "change", "delta")
DELTA_WEIGHT = 0.5  # of the MagMax paper; the PAM paper's form has none


class MagMaxStrategy(ContinualStrategy):
    """Train one LoRA task after task, keep in every entry the value of largest magnitude.

    MagMax (Marczak et al. 2024, arXiv 2407.06322), Sec. 3, on a LoRA. For each task t::

        train    theta_t from theta_t-1, neither restarted nor from the merged model
        select   tau <- whichever of tau and tau_t is larger in magnitude, entry by entry
        evaluate theta_0 + lambda tau

    What tau_t is says ``space``: ``factors`` A and B as they are, with theta_0 = 0 (the PAM
    paper's form); ``change`` the same minus A's random start, which else wins many entries of
    A; ``delta`` the product B A. The maximum is a running one: one tau is kept, however many
    tasks there are.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of the LoRA, at least 1.
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own; None adapts whole layers.
        space: where the maximum is taken, one of ``factors``, ``change`` or ``delta``.
        merge_weight: lambda, above 0; None takes 0.5 for ``delta`` (the paper's), else 1.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, NoMatchError, UnknownNameError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        space: str = "factors",
        merge_weight: float | None = None,
        **kwargs: Any,
    ) -> None:
        if space not in SPACES:
            raise UnknownNameError("space", space, SPACES)
        if merge_weight is not None:
            check_range("merge_weight", merge_weight, 0.0, float("inf"), open_low=True)
        self.space, self.merge_weight = space, merge_weight
        self.make_branch = low_rank_branches(rank, slots=slots)
        model.attach_adapters(targets)
        self._open(model.adapters, kwargs.get("seed", 0))
        super().__init__(model=model, **kwargs)
        start = self.adapters.current() if space == "change" else {}
        self.memory = {"largest": {}, "start": {name: pair.a for name, pair in start.items()}}

    def _open(self, adapters: Any, seed: int) -> None:
        with forked(seed, "lora"):
            adapters.open(self.make_branch, train_scales=False)

    def end_task(self, experience: Any) -> None:
        """Take the checkpoint into the running maximum."""
        self.memory["largest"] = self.largest()

    def largest(self) -> dict[str, LowRank | Tensor]:
        """Give the maximum over the checkpoints so far and the weights as they are now."""
        newest = {name: self.vector(name, pair) for name, pair in self.adapters.current().items()}
        known = moved(self.memory["largest"], self.adapters.scales)  # the model may have been cast
        return {name: _each(larger, known.get(name, tau), tau) for name, tau in newest.items()}

    def vector(self, name: str, pair: LowRank) -> LowRank | Tensor:
        """Give tau_t of a layer."""
        if self.space == "delta":
            return dense(pair)
        if self.space == "change":
            return pair._replace(a=pair.a - self.memory["start"][name].to(pair.a))
        return pair

    def inference_update(self) -> Update | None:
        """Fold theta_0 + lambda tau into the weights; within a task, as if it ended now."""
        weight = self.merge_weight
        if weight is None:
            weight = DELTA_WEIGHT if self.space == "delta" else 1.0
        update = {n: _each(lambda t: weight * t, tau) for n, tau in self.largest().items()}
        for name, start in self.memory["start"].items():
            update[name] = update[name]._replace(a=update[name].a + start.to(update[name].a))  # type: ignore[union-attr]
        return update

    def refresh(self) -> None:
        """Open the LoRA for the saved one to be loaded into; bring the maximum to its device."""
        self._open(self.adapters, self.seed)
        self.memory = moved(self.memory, self.device)


def _each(function: Callable[..., Tensor], *changes: LowRank | Tensor) -> LowRank | Tensor:
    """Apply a function to dense changes, or to A and to B."""
    if isinstance(changes[0], LowRank):
        return LowRank(*(function(*matrices) for matrices in zip(*changes)))
    return function(*changes)
