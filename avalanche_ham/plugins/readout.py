"""Feed closed-form readouts with each task's features, once it is learned; let some follow it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import torch
from avalanche.training.plugins import SupervisedPlugin
from torch import Tensor
from torch.utils.data import DataLoader

from avalanche_ham.errors import HamError
from avalanche_ham.heads.drift.views import VIEWS, View
from avalanche_ham.plugins.final_merging import FinalMergingPlugin
from avalanche_ham.seeding import preserved


class ReadoutPlugin(SupervisedPlugin, supports_distributed=True):
    """After each experience, pass its training images once through the merged model.

    The readouts keep class sums or a Gram matrix, no images. Without a readout in the model
    the plugin does nothing. Where one follows the drift (``Readout.follows``) and knows classes
    already, the images also pass once before the experience trains; what changed moves the
    statistics of old classes before the new ones are fed. Copies of the images that a readout
    asks for (``Readout.views``) pass before and after, too. No random number is drawn.

    Works with any supervised strategy on a ``ContinualModel``. With HAM's plugins on a strategy
    such as ``Naive`` it stands after ``AdapterGroupingPlugin``; its first pass then sees the new
    adapter, whose change is still zero, which makes no difference to a linear merge.

    Args:
        merging: tells which weights evaluation will use; None takes the strategy's own
            ``FinalMergingPlugin``, and without one the model as it is.
    """

    place = 2  # among HAM's plugins

    def __init__(self, merging: FinalMergingPlugin | None = None) -> None:
        super().__init__()
        self.merging = merging or FinalMergingPlugin(None, update=_nothing)
        self.seconds = 0.0  # of feeding, in the latest experience
        self.drift_seconds = 0.0  # of following, in the latest experience
        self.ahead_seconds = 0.0  # of these, before the experience's training began
        self._before: dict[str, Tensor] = {}  # view -> features (n, d) before it trains
        self._ahead: tuple[Any, Tensor, float] | None = None  # experience, features, seconds

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Forget the features of an interrupted experience; look at model and plugins.

        Raises:
            HamError: if the model has no readouts.
        """
        self._before = {}
        if not hasattr(strategy.model, "readouts"):
            kind = type(strategy.model).__name__
            raise HamError(
                f"plugins: ReadoutPlugin needs a model made by create_model, but got a {kind}"
            )
        if self.merging.adapters is None:
            others = (p for p in strategy.plugins if isinstance(p, FinalMergingPlugin))
            self.merging = next(others, self.merging)

    def before_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        """Look at the images, unless that was done before there were new parameters."""
        if not self._before:
            self.look(strategy)

    def look_ahead(self, strategy: Any, experience: Any) -> tuple[Tensor, Tensor]:
        """Pass the images of the experience that trains next, so that ``look`` need not.

        Nothing may change in between.

        Returns:
            Features ``(n, d)`` and class ids ``(n,)``.
        """
        features, targets, seconds = self._passed(strategy, experience)
        self._ahead = (experience, features.cpu(), seconds)
        return features, targets

    def look(self, strategy: Any) -> None:
        """Keep the features of the experience's images, if a readout will follow their drift."""
        ahead, self._ahead = self._ahead, None
        self.drift_seconds = self.ahead_seconds = 0.0
        moves = getattr(strategy, "moves_features", True)  # else the features stay as they are
        following = [r for r in strategy.model.readouts.values() if r.follows and r.is_fed]
        if not moves or not following:
            return
        if ahead is not None and ahead[0] is strategy.experience:
            _, self._before["none"], self.drift_seconds = ahead
            self.ahead_seconds = self.drift_seconds
        else:
            features, _, self.drift_seconds = self._passed(strategy, strategy.experience)
            self._before["none"] = features.cpu()
        for name in {r.views for r in following} - {"none"}:
            self._before[name], seconds = self._viewed(strategy, name)
            self.drift_seconds += seconds

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Feed the readouts with features of the experience's own, un-augmented images."""
        readouts, start = strategy.model.readouts.values(), time.perf_counter()
        self.seconds = 0.0
        if not readouts:
            return
        parts = self._encoded(strategy, strategy.experience)
        following = self._follow(strategy, parts)
        for features, targets in parts:
            for readout in readouts:
                readout.feed(features, targets)
        for readout in readouts:
            readout.settle()
        self.seconds = time.perf_counter() - start - following
        self.drift_seconds += following

    def _follow(self, strategy: Any, parts: list[tuple[Tensor, Tensor]]) -> float:
        """Move the statistics of old classes; gives the seconds that it took."""
        if not self._before:
            return 0.0
        start = time.perf_counter()
        after = {"none": torch.cat([features.cpu() for features, _ in parts])}
        for name in self._before.keys() - after:
            after[name], _ = self._viewed(strategy, name)
        for readout in strategy.model.readouts.values():
            if readout.follows and readout.is_fed:
                seen = dict.fromkeys(("none", readout.views))
                pair = (torch.cat([side[name] for name in seen]) for side in (self._before, after))
                readout.follow(*pair)
        self._before = {}
        return time.perf_counter() - start

    def _viewed(self, strategy: Any, name: str) -> tuple[Tensor, float]:
        """Give the features of all copies of the experience's images, and the seconds it took."""
        start = time.perf_counter()
        with preserved():
            parts = [self._encoded(strategy, strategy.experience, view) for view in VIEWS[name]]
        features = torch.cat([features.cpu() for part in parts for features, _ in part])
        return features, time.perf_counter() - start

    def _passed(self, strategy: Any, experience: Any) -> tuple[Tensor, Tensor, float]:
        """Give features and targets of an experience's images, and the seconds that it took."""
        start = time.perf_counter()
        with preserved():
            parts = self._encoded(strategy, experience)
        features, targets = map(torch.cat, zip(*parts, strict=True))
        return features, targets, time.perf_counter() - start

    @torch.no_grad()
    def _encoded(
        self, strategy: Any, experience: Any, view: View | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Give features and targets of an experience's images, or of a view, batch by batch."""
        model, parts = strategy.model, []
        precision = getattr(strategy, "autocast", nullcontext)
        was_training = model.training
        model.eval()
        self.merging.before_eval(strategy)
        try:
            data = experience.dataset.eval()
            for batch in DataLoader(data, batch_size=strategy.eval_mb_size):
                images, targets = batch[0].to(strategy.device), batch[1].to(strategy.device).long()
                images = images if view is None else view(images)
                with precision():
                    parts.append((model.encode(images).features, targets))
        finally:
            self.merging.after_eval(strategy)
            model.train(was_training)
        return parts


def _nothing() -> None:
    """Leave the weights as they are; a function of the module, which can be pickled."""
