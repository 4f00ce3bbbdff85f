"""Sec. 3.3: evaluate one merged model, at any time, and leave the un-merged state as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avalanche.training.plugins import SupervisedPlugin

from avalanche_ham.adapters import AdapterSet, Update


class FinalMergingPlugin(SupervisedPlugin, supports_distributed=True):
    """Enter merged weights before an evaluation and leave them after it (Eq. 7, 8).

    Serves every method that can fold what it knows into the weights. The merged model costs
    what the plain backbone costs.

    Args:
        adapters: whose layers are folded; None makes the plugin do nothing.
        update: gives the change to fold, asked at each evaluation; may give None.
    """

    def __init__(
        self, adapters: AdapterSet | None, *, update: Callable[[], Update | None]
    ) -> None:
        super().__init__()
        self.adapters, self.update = adapters, update

    def before_eval(self, strategy: Any, **kwargs: Any) -> None:
        """Fold the update into the weights."""
        update = None if self.adapters is None else self.update()
        if update is not None:
            self.adapters.enter(update)

    def after_eval(self, strategy: Any, **kwargs: Any) -> None:
        """Leave the merged weights."""
        self.leave()

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Leave merged weights that a failed evaluation may have left behind."""
        self.leave()

    def leave(self) -> None:
        """Go back to the un-merged weights; does nothing when there are none."""
        if self.adapters is not None:
            self.adapters.restore()
