"""Sec. 3.3: evaluate one merged model, at any time, and leave the un-merged state as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avalanche.training.plugins import SupervisedPlugin

from avalanche_ham.adapters import AdapterSet, Update
from avalanche_ham.plugins._order import check_place


class FinalMergingPlugin(SupervisedPlugin, supports_distributed=True):
    """Enter merged weights before an evaluation and leave them after it (Eq. 7, 8).

    Serves every method that can fold what it knows into the weights. The merged model costs
    what the plain backbone costs.

    Args:
        adapters: whose layers are folded; None makes the plugin do nothing.
        update: gives the change to fold, asked at each evaluation; may give None. A
            ``partial(merge_groups, adapters, grouping)`` goes along when a strategy is copied or
            pickled; a lambda would go on merging the original's groups.
    """

    def __init__(self, adapters: AdapterSet | None, *, update: Callable[[], Update | None]) -> None:
        super().__init__()
        self.adapters, self.update = adapters, update
        self._outer: list[Any] = []  # what each evaluation found; they may be nested

    @property
    def depth(self) -> int:
        """The number of evaluations that have entered merged weights and not left them."""
        return len(self._outer)

    def before_eval(self, strategy: Any, **kwargs: Any) -> None:
        """Fold the update into the weights."""
        if self.adapters is not None:
            check_place(strategy, self.adapters)
            self._outer.append(self.adapters.enter(self.update()))

    def after_eval(self, strategy: Any, **kwargs: Any) -> None:
        """Go back to the weights of before the evaluation."""
        self.leave(self.depth - 1)

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Leave merged weights that a failed evaluation may have left behind."""
        self._outer.clear()
        if self.adapters is not None:
            self.adapters.restore()

    def leave(self, depth: int = 0) -> None:
        """Go back to the weights of when ``depth`` evaluations were under way."""
        while self.adapters is not None and self.depth > max(depth, 0):
            self.adapters.restore(self._outer.pop())
