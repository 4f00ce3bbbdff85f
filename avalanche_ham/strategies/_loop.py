"""The training loop in phases of an exact number of optimiser steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from avalanche_ham.errors import DivergedError, HamError, UnknownNameError
from avalanche_ham.plugins._rates import follow
from avalanche_ham.strategies._optimizer import refill

CHECK_EVERY = 20  # steps between looks at the loss on a GPU, where a look waits for the device


SCHEDULES = {  # name -> factor of the rate, when a fraction in [0, 1] of the phase is done
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    # of InfLoRA's and CODA-Prompt's releases: cos(99 pi e / (200 (K - 1))) in epoch e of K
    "quarter_cosine": lambda done: math.cos(0.99 * math.pi / 2 * done),
}


def check_schedule(name: str) -> str:
    """Give a name of ``SCHEDULES`` back, or raise UnknownNameError."""
    if name not in SCHEDULES:
        raise UnknownNameError("schedule", name, SCHEDULES)
    return name


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own budget.

    Args:
        steps: number of optimiser steps; None means ``epochs`` passes over the data.
        epochs: passes over the data, used when ``steps`` is None; more of them where they have
            fewer steps than the strategy's ``min_steps``.
        groups: parameter groups to train; None keeps the strategy's.
        schedule: of the rate, one of ``SCHEDULES``.
        name: what the phase is for, such as ``task`` or ``descriptors``.
    """

    steps: int | None = None
    epochs: int = 1
    groups: tuple[dict[str, Any], ...] | None = None
    schedule: str = "constant"
    name: str = "task"


class FirstBatches:
    """The first ``n`` batches of a loader."""

    def __init__(self, loader: Iterable[Any], n: int) -> None:
        self.loader, self.n = loader, n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.loader), self.n)


class PhasedTraining:
    """Mixed into the template: runs ``self.phases()`` in place of a number of epochs."""

    # what the template brings along
    adapts: Any
    after_step: Any
    phases: Any
    optimizer: Any
    dataloader: Any
    loss: Any
    device: Any
    clock: Any
    experience: Any
    train_mb_size: Any
    task: Any
    training_epoch: Any
    min_steps: int | None
    changes: Any
    _stop_training: bool
    _before_training_epoch: Any
    _after_training_epoch: Any

    phase = Phase()
    step = 0  # optimiser steps done in this phase
    total_steps = 0  # of this phase
    steps_per_epoch = 0
    _scheduled: tuple[float, ...] = ()  # the groups' rates, while a step's are annealed

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        self.run_phases(self.phases(), **kwargs)

    def run_phases(self, phases: Iterable[Phase], **kwargs: Any) -> None:
        """Train in these phases, one after the other."""
        for phase in phases:
            self.phase = phase
            if phase.groups is not None:
                refill(self.optimizer, phase.groups)
            self.changes.phase_begins(self)
            self._run_phase(phase, **kwargs)
            self._stop_training = False  # early stopping ends a phase, the next still runs

    def _run_phase(self, phase: Phase, **kwargs: Any) -> None:
        loader = self.dataloader
        per_epoch = len(loader)
        if per_epoch == 0:
            raise HamError(
                f"the experience has {len(self.experience.dataset)} images, fewer than a batch "
                f"({self.train_mb_size}), and drop_last leaves none"
            )
        self.step, self.steps_per_epoch = 0, per_epoch
        self.total_steps = phase.steps or max(phase.epochs * per_epoch, self.min_steps or 0)
        while self.step < self.total_steps and not self._stop_training:
            left = self.total_steps - self.step
            self.dataloader = loader if left >= per_epoch else FirstBatches(loader, left)
            self._before_training_epoch(**kwargs)
            if not self._stop_training:
                self.training_epoch(**kwargs)
                self._after_training_epoch(**kwargs)
        self.dataloader = loader

    def backward(self) -> None:
        """Back-propagate, unless nothing trains (a method without gradients)."""
        if self.loss.requires_grad:
            super().backward()  # type: ignore[misc]

    def optimizer_step(self) -> None:
        """Take one step of the phase; its schedule sets the rate first.

        Raises:
            DivergedError: if the loss is not finite, naming task, epoch and step.
        """
        last = self.step + 1 >= self.total_steps
        if self.device.type == "cpu" or last or self.step % CHECK_EVERY == 0:
            self._check_finite()
        follow(self.optimizer)  # a plugin may have changed the first group's rate just now
        if self.phase.schedule != "constant":
            self._anneal()
        self.optimizer.step()
        self.step += 1
        if self.adapts:
            self.after_step()

    def _anneal(self) -> None:
        self._scheduled = tuple(group["lr"] for group in self.optimizer.param_groups)
        factor = SCHEDULES[self.phase.schedule](self._done())
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr"] * factor

    def _done(self) -> float:
        """Give the fraction of the phase that is done; the quarter cosine falls epoch by epoch."""
        epochs = 0 if self.phase.steps else self.phase.epochs
        if self.phase.schedule == "quarter_cosine" and epochs > 1:
            return min(self.step // self.steps_per_epoch, epochs - 1) / (epochs - 1)
        return self.step / self.total_steps

    def end_annealing(self) -> None:
        """Give the groups the rates that the user's scheduler knows again."""
        for group, rate in zip(self.optimizer.param_groups, self._scheduled):
            group["lr"] = rate
        self._scheduled = ()

    def _check_finite(self) -> None:
        value = float(torch.as_tensor(self.loss).detach())
        if not math.isfinite(value):
            epoch = self.clock.train_exp_epochs + 1
            raise DivergedError(
                f"the loss is {value} at task {self.task + 1}, epoch {epoch}, step "
                f"{self.step + 1} ({self.phase.name}); a smaller lr usually helps"
            )

    def check_parameters(self) -> None:
        """Look at what the last step has made of the parameters, which no later loss does.

        Raises:
            DivergedError: if one is not finite.
        """
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        if not all(bool(torch.isfinite(p).all()) for p in trained):
            raise DivergedError(
                f"parameters are not finite at the end of task {self.task + 1}; a smaller lr "
                "usually helps"
            )
