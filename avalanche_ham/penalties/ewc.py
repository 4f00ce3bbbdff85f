"""Elastic weight consolidation, online: one importance per trainable weight, decayed by task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from avalanche_ham.errors import check_range


class EWCPenalty:
    """``strength * sum_p F_p (theta_p - theta*_p)^2`` over the weights that train.

    F is the mean over mini-batches of the squared gradient of the loss, in evaluation mode
    (as in Avalanche, no factor 1/2). After each task ``F <- decay * F + F_task`` and
    ``theta* <- theta``; with ``decay=1`` and two tasks this equals the separate form.
    The head is left out: its rows belong to one task each.

    Args:
        strength: weight lambda of the penalty, at least 0.
        decay: of older tasks' importance, in [0, 1].
        batch_size: images in a batch of the importance pass, at least 1. The squared gradient of
            a batch mean shrinks with the batch, so this is a part of the method.
        max_batches: batches of the importance pass, at least 1.

    Raises:
        OptionError: if an argument is outside its range.
    """

    def __init__(
        self,
        strength: float = 1000.0,
        *,
        decay: float = 1.0,
        batch_size: int = 8,
        max_batches: int = 32,
    ) -> None:
        check_range("ewc_strength", strength, 0.0, float("inf"))
        check_range("ewc_decay", decay, 0.0, 1.0)
        check_range("ewc_batch_size", batch_size, 1, float("inf"))
        check_range("ewc_max_batches", max_batches, 1, float("inf"))
        self.strength, self.decay = strength, decay
        self.batch_size, self.max_batches = batch_size, max_batches

    def __repr__(self) -> str:
        return f"EWCPenalty(strength={self.strength}, decay={self.decay})"

    def begin(self, strategy: Any) -> None:
        """Nothing to prepare before a task."""

    def __call__(self, strategy: Any) -> Tensor | None:
        """Give the penalty of the current weights; None before the first task has ended."""
        memory = strategy.memory
        if "importance" not in memory:
            return None
        total = torch.zeros((), device=strategy.device)
        for name, parameter in consolidated(strategy):
            drift = (parameter - memory["anchor"][name].to(parameter.device)).square()
            total = total + (memory["importance"][name].to(parameter.device) * drift).sum()
        return self.strength * total

    def end(self, strategy: Any) -> None:
        """Add the task's importance and move the anchor to the weights it ended with."""
        fresh = self.importance(strategy)
        old = strategy.memory.get("importance", {})
        strategy.memory["importance"] = {
            name: value + self.decay * old[name].to(value.device) if name in old else value
            for name, value in fresh.items()
        }
        strategy.memory["anchor"] = {
            name: parameter.detach().clone() for name, parameter in consolidated(strategy)
        }

    def importance(self, strategy: Any) -> dict[str, Tensor]:
        """Average the squared gradients over the current experience's training images."""
        model, named = strategy.model, list(consolidated(strategy))
        if not named:  # only the head trains
            return {}
        total = {name: torch.zeros_like(parameter) for name, parameter in named}
        loader = DataLoader(strategy.experience.dataset, self.batch_size, shuffle=True)
        model.eval()
        count = 0
        for batch in loader:
            images, targets = batch[0].to(strategy.device), batch[1].to(strategy.device)
            with strategy.autocast():
                logits = model.head(model.encode(images).features)
            loss = strategy.scoped_loss.training_loss(logits, targets)
            gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
            for (name, _), gradient in zip(named, gradients, strict=True):
                if gradient is not None:
                    total[name] += gradient.square()
            count += 1
            if count == self.max_batches:
                break
        model.train()
        return {name: value / count for name, value in total.items()}


def consolidated(strategy: Any) -> list[tuple[str, torch.nn.Parameter]]:
    """Name the weights that stay trainable from task to task: everything but the head."""
    return [
        (name, parameter)
        for name, parameter in strategy.model.named_parameters()
        if parameter.requires_grad and not name.startswith("head.")
    ]
