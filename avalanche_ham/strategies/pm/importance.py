"""How much each weight matters to a task, and how far a new update should be taken (P&M)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avalanche_ham.heads.loss import at_least_fp32
from avalanche_ham.precision import in_float64

IMAGES_AT_ONCE = 8  # an image's gradient is as large as the layer


class SquaredGradients:
    """Sum, over images, of the squared gradient of each image's own loss in a linear layer.

    ``sum_n (sum_l g_nl x_nl^T)^2`` for inputs x and output gradients g of tokens l: exact, at
    about the cost of one backward pass. Hooks itself onto a layer until ``remove``.

    Args:
        layer: maps ``(N, ..., i)`` to ``(N, ..., o)``.
    """

    def __init__(self, layer: nn.Linear) -> None:
        self.total = at_least_fp32(torch.zeros_like(layer.weight, requires_grad=False))  # (o, i)
        self.images = 1  # in the batch that is to come
        self._hook = layer.register_forward_hook(self._watch)

    def remove(self) -> None:
        """Watch the layer no longer."""
        self._hook.remove()

    def _watch(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].detach()
        output.register_hook(lambda gradient: self._add(x, gradient))

    @torch.no_grad()
    def _add(self, x: Tensor, gradient: Tensor) -> None:
        parts = (t.reshape(self.images, -1, t.shape[-1]).to(self.total) for t in (gradient, x))
        for g, some in zip(*(t.split(IMAGES_AT_ONCE) for t in parts), strict=True):
            self.total += (g.mT @ some).square().sum(0)


def diagonal_fisher(strategy: Any, batches: Iterable[Any]) -> dict[str, Tensor]:
    """Average the squared gradients of the training loss over images, the true class known.

    The diagonal of the empirical Fisher matrix in the weights of the adapted layers, under the
    weights that train now.

    Args:
        strategy: with an open adapter.
        batches: of images ``(N, C, H, W)`` and class ids ``(N,)``; at least one.

    Returns:
        Layer name -> ``(o, i)``.
    """
    model, layers = strategy.model, strategy.adapters.layers
    watched = {name: SquaredGradients(layer) for name, layer in layers.items()}
    trained = [p for layer in layers.values() for p in layer.branch.parameters()]
    count, was_training = 0, model.training
    model.eval()
    try:
        for batch in batches:
            images, targets = batch[0].to(strategy.device), batch[1].to(strategy.device)
            count += len(images)
            for one in watched.values():
                one.images = len(images)
            with strategy.autocast():
                logits = model.head(model.encode(images).features)
            loss = strategy.scoped_loss.training_loss(logits, targets) * len(images)
            torch.autograd.grad(loss, trained, allow_unused=True)  # hooks take what passes by
    finally:
        for one in watched.values():
            one.remove()
        model.train(was_training)
    return {name: one.total / count for name, one in watched.items()}


def merging_scale(
    change: Mapping[str, Tensor],
    importance: Mapping[str, Tensor],
    pull: Mapping[str, Tensor],
) -> float:
    """Give the alpha at which ``merged + alpha change`` harms all tasks least.

    The minimiser of ``sum_i (theta - theta_i)' H_i (theta - theta_i)`` on that line, H_i
    diagonal (P&M, Qiu et al. 2025, https://arxiv.org/abs/2505.22389)::

        alpha = - sum_i (merged - theta_i)' H_i D  /  sum_i D' H_i D

    Args:
        change: D, layer -> what the newest task has added to the merged weights, ``(o, i)``.
        importance: ``sum_i H_i``, the newest task's included.
        pull: ``sum_i H_i (theta_i - merged)``, the newest task's included, whose part is H D.

    Returns:
        alpha, not cut to [0, 1]; 1 where nothing that has changed matters to any task.
    """
    along = sum(_total(pull[name] * delta) for name, delta in change.items())
    size = sum(_total(importance[name] * delta.square()) for name, delta in change.items())
    return along / size if size else 1.0


def _total(values: Tensor) -> float:
    return float(in_float64(values).sum())
