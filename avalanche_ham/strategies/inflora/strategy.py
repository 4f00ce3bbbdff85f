"""InfLoRA: low-rank adaptation that cannot interfere with the inputs of old tasks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from avalanche_ham.adapters import Update, low_rank_branches
from avalanche_ham.adapters.low_rank import scaled
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import OptionError, check_range, check_whole
from avalanche_ham.merging import damped_weight
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies._loop import check_schedule
from avalanche_ham.strategies.inflora.subspace import (
    SecondMoment,
    Subspace,
    empty_subspace,
    energy_threshold,
    input_factor,
    update_subspace,
)


class InfLoRAStrategy(ContinualStrategy):
    """Fix each task's input factor A in free directions and train B alone.

    InfLoRA (Liang and Li, CVPR 2024). For each experience::

        Sec. 3.2   one pass over the images -> C of every adapted layer's inputs
                   A_t = leading directions of C that the memory leaves free; frozen
        training   B_t of keys and values (they share A_t) and the classifier's new rows
        Sec. 3.3   a second pass -> C; the memory takes in what the task uses (DualGPM)
                   B_t A_t is added onto one dense change per layer

    What is stored does not grow with the number of tasks. Once a layer has fewer free
    directions than ``rank``, which can happen at 50 and more tasks, new adapters have less
    room there; the strategy says so once, and ``describe`` tells the room left.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of each adapter, at least 1.
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv that are adapted; None adapts whole layers.
        threshold: fraction of energy protected at first, in (0, 1] (0.98 for ImageNet-R).
        final_threshold: the same after all tasks, in (0, 1]; between them it grows linearly.
        schedule: of the learning rate, one of ``quarter_cosine`` (the release's, epoch by epoch, or
            step by step where the budget is in steps), ``cosine`` or ``constant``.
        n_tasks: number T of tasks, at least 1; None takes the length of the experience's stream.
        damping: weight with which an adapter is added, the first one always whole: a number in
            (0, 1], or one of ``sqrt`` (1 / root of t) or ``inverse`` (1/t); 1 is the paper's.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, NoMatchError, UnknownNameError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 10,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = ("k", "v"),
        threshold: float = 0.95,
        final_threshold: float = 1.0,
        schedule: str = "quarter_cosine",
        n_tasks: int | None = None,
        damping: float | str = 1.0,
        **kwargs: Any,
    ) -> None:
        check_range("threshold", threshold, 0.0, 1.0, open_low=True)
        check_range("final_threshold", final_threshold, 0.0, 1.0, open_low=True)
        if n_tasks is not None:
            check_whole("n_tasks", n_tasks, 1)
        damped_weight(damping, 1)  # says now if there is no such damping
        self.damping = damping
        self.rank, self.n_tasks, self.schedule = rank, n_tasks, check_schedule(schedule)
        self.threshold, self.final_threshold = threshold, final_threshold
        adapters = model.attach_adapters(targets)
        self.make_branch = low_rank_branches(
            rank, slots=slots, shared_input=True, train_input=False
        )
        for name, layer in adapters.layers.items():
            self.make_branch(name, layer)  # says now if it cannot fit
        super().__init__(model=model, **kwargs)
        self.memory = {"spaces": {}, "update": {}, "free": []}

    def begin_task(self, experience: Any) -> None:
        """Choose A_t in what is free and open the adapter (Sec. 3.2)."""
        count = self.n_tasks or stream_length(experience)
        self.energy = energy_threshold(self.threshold, self.final_threshold, self.task, count)
        self._check_room()
        moments = self.input_moments(experience)
        factors = {
            name: input_factor(moment, self.space(name), self.rank)
            for name, moment in moments.items()
        }

        def make(name: str, layer: nn.Linear) -> nn.Module:
            branch: Any = self.make_branch(name, layer)
            branch.a.data.copy_(factors[name])
            return branch

        self.adapters.open(make, train_scales=False)

    def end_task(self, experience: Any) -> None:
        """Update the memory (Sec. 3.3) and add the adapter onto the folded change."""
        for name, moment in self.input_moments(experience).items():
            space = update_subspace(moment, self.space(name), self.energy)
            self.memory["spaces"][name] = {"basis": space.basis, "kind": space.kind}
        trained = scaled(self.adapters.close(), damped_weight(self.damping, self.task + 1))
        self.adapters.add(trained, scale=1.0, to=0 if self.adapters.n_terms else None)
        self.memory["update"] = self.adapters.term(0)

    def inference_update(self) -> Update | None:
        """Fold the sum of all tasks' B A into the weights."""
        if self.adapters.is_open:
            return self.adapters.total()
        return self.adapters.term(0) if self.adapters.n_terms else None

    def space(self, layer: str) -> Subspace:
        """Give the memory of a layer."""
        known = self.memory["spaces"].get(layer)
        if known is None:
            return empty_subspace(self.adapters.layers[layer].in_features)
        return Subspace(known["basis"], known["kind"])

    @torch.no_grad()
    def input_moments(self, experience: Any) -> dict[str, Tensor]:
        """Pass the images through the current network: C of each adapted layer's inputs.

        The images are the experience's own, un-augmented.
        """
        moments = {name: SecondMoment() for name in self.adapters.layers}
        hooks = [
            layer.register_forward_pre_hook(_collector(moments[name]))
            for name, layer in self.adapters.layers.items()
        ]
        was_training = self.model.training
        self.model.eval()
        try:
            loader = DataLoader(experience.dataset.eval(), self.eval_mb_size)
            for batch in loader:
                with self.autocast():
                    self.model.encode(batch[0].to(self.device))
        finally:
            for hook in hooks:
                hook.remove()
            self.model.train(was_training)
        return {name: moment.result() for name, moment in moments.items()}

    def describe(self) -> Any:
        """Give the free directions of the tightest layer, before each task."""
        return {"free_directions": self.memory["free"]}

    def refresh(self) -> None:
        """Rebuild the folded change."""
        if self.memory["update"]:
            self.adapters.add(self.memory["update"], scale=1.0)

    def _check_room(self) -> None:
        free = {name: self.space(name).free for name in self.adapters.layers}
        tightest = min(free, key=lambda name: free[name])
        before = self.memory["free"]
        if free[tightest] < self.rank and not any(n < self.rank for n in before):
            warnings.warn(
                f"task {self.task + 1}: {tightest} has {free[tightest]} free directions left, "
                f"fewer than the rank {self.rank}; new adapters have less room from here on",
                stacklevel=2,
            )
        before.append(free[tightest])


def stream_length(experience: Any) -> int:
    """Tell the number of tasks from an experience.

    Raises:
        OptionError: if the experience stands in no stream.
    """
    stream = getattr(experience, "_origin_stream", None)
    if stream is None:
        raise OptionError("n_tasks", "given: this experience belongs to no stream", None)
    whole = getattr(stream, "benchmark", None)  # the stream itself may be a slice
    return len(getattr(whole, "train_stream", stream))


def _collector(moment: SecondMoment) -> Any:
    def collect(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moment.add(inputs[0])

    return collect
