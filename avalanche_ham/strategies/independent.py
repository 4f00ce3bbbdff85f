"""One adapter a task and the task told in evaluation: what a task can reach by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from avalanche_ham.adapters import Update, low_rank_branches
from avalanche_ham.adapters.branch import check_branches
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import OptionError
from avalanche_ham.heads.linear import classes_of
from avalanche_ham.state import Archive
from avalanche_ham.strategies._base import ContinualStrategy


class IndependentStrategy(ContinualStrategy):
    """Train an adapter per task from the bare backbone, and evaluate each task under its own.

    The upper bound per task of methods that keep one model: nothing is shared, so nothing is
    forgotten. Evaluation is told which experience an image is of (``current_experience``): it
    folds that experience's adapter into the weights, and its classes alone compete. An
    experience that was not trained meets the bare backbone.

    The trained head predicts. A closed-form readout is refused: its statistics would mix the
    features of all adapters.

    Args:
        model: from ``create_model`` with the head ``linear``; its adapters are attached here.
        rank: rank r of each adapter, at least 1.
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError: if the rank does not fit a layer, or the model has a readout.
        NoMatchError: if a target matches no layer.
    """

    knows_task = True

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if len(model.readouts):
            allowed = "linear, which each task's own adapter has trained"
            raise OptionError("head", allowed, ",".join(model.heads))
        self.make_branch = low_rank_branches(rank, slots=slots)
        check_branches(model.attach_adapters(targets).layers, self.make_branch)
        super().__init__(model=model, **kwargs)
        self.memory = {"adapters": Archive(), "experiences": []}
        self._training: int | None = None  # the experience of the open adapter

    def begin_task(self, experience: Any) -> None:
        """Open a fresh adapter on the bare backbone."""
        self._training = experience.current_experience
        self.adapters.open(self.make_branch, train_scales=False)

    def end_task(self, experience: Any) -> None:
        """Store the adapter beside the number of its experience."""
        self.memory["adapters"].append(self.adapters.close())
        self.memory["experiences"].append(experience.current_experience)

    def update_of(self, experience: Any) -> Update:
        """Give the adapter of an experience, the latest if it was trained twice; else nothing."""
        number = experience.current_experience
        if self.adapters.is_open and number == self._training:
            return self.adapters.current()
        known = zip(self.memory["experiences"], self.memory["adapters"], strict=True)
        return dict(known).get(number, {})

    @contextlib.contextmanager
    def evaluation_weights(self, experience: Any = None) -> Iterator[None]:
        """Run the body under an experience's own adapter and classes.

        Args:
            experience: what is evaluated; None leaves backbone and classes as they are.
        """
        if experience is None:
            with super().evaluation_weights():
                yield
            return
        before, self.model.competing = self.model.competing, self._classes(experience)
        try:
            with self.adapters.merged(self.update_of(experience)):
                yield
        finally:
            self.model.competing = before

    def eval(self, exp_list: Any, **kwargs: Any) -> Any:
        """Evaluate each experience under its own adapter and classes; args as Avalanche's."""
        before = self.model.competing
        try:
            return super().eval(exp_list, **kwargs)
        finally:
            self.model.competing = before

    def _before_eval_exp(self, **kwargs: Any) -> None:
        self.adapters.enter(self.update_of(self.experience))  # left with the whole evaluation
        self.model.competing = self._classes(self.experience)
        super()._before_eval_exp(**kwargs)

    def _classes(self, experience: Any) -> torch.Tensor:
        competing = torch.zeros(self.model.head.n_classes, dtype=torch.bool, device=self.device)
        competing[classes_of(experience)] = True
        return competing
