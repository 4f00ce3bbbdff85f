"""Adaptation in the first tasks only: from then on the features stay, and heads alone learn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from avalanche_ham.strategies._loop import Phase


class FirstTasks:
    """Mixed into the template: what ``adapt_tasks=L`` means for any method.

    In the first L experiences the method trains as ever. In each later one none of its hooks is
    called and it keeps the weights that evaluation uses: the readouts are fed and, if the trained
    head's predictions are asked for, its new rows train on the features that stay.

    With L = 1 this is first-session adaptation (Panos et al. 2023,
    https://arxiv.org/abs/2303.13199), with the ``ridge`` readout RanPAC's two phases (McDonnell
    et al. 2023, https://arxiv.org/abs/2307.02251, Sec. 4).
    """

    # what the strategy brings along
    adapt_tasks: int | None
    evaluation_weights: Any
    head_group: Any
    mb_x: Any
    model: Any
    own_plugins: Any
    plugins: list[Any]
    run_phases: Any
    schedule: str
    steps: int | None
    task: Any
    train_epochs: int

    @property
    def adapts(self) -> bool:
        """Whether the experience that trains now is one of those that the method trains in."""
        return self.adapt_tasks is None or self.task < self.adapt_tasks

    @property
    def moves_features(self) -> bool:
        """Whether features after this experience can be others than before it."""
        return self.adapts

    @property
    def groups_of_head(self) -> list[dict[str, Any]]:
        """What trains after the first tasks: the head's new rows, nothing if nobody asks it."""
        group = self.head_group()
        return [group] if "linear" in self.model.heads and group["params"] else []

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """Run the body without the method's own plugins, unless the method adapts."""
        everyone = self.plugins
        if not self.adapts:
            own = self.own_plugins()
            self.plugins = [plugin for plugin in everyone if plugin not in own]
        try:
            yield
        finally:
            self.plugins = everyone

    def logits_on_kept_features(self) -> Tensor:
        """Give the head's logits of the mini-batch; no gradient reaches the encoder."""
        self.model.encoder.eval()  # prompts are then chosen as in an evaluation
        with torch.no_grad():
            features = self.model.encode(self.mb_x).features
        return self.model.head(features)

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        if self.adapts:
            super()._train_exp(experience, eval_streams, **kwargs)  # type: ignore[misc]
        elif self.groups_of_head:
            phase = Phase(steps=self.steps, epochs=self.train_epochs, schedule=self.schedule)
            with self.evaluation_weights():
                self.run_phases([phase], **kwargs)
