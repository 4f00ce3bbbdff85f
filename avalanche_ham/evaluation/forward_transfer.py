"""Does what was learned help a task that is still unseen? A probe on features alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from avalanche_ham.heads import NearestClassMean
from avalanche_ham.precision import in_float64
from avalanche_ham.seeding import preserved


@torch.no_grad()
def class_mean_accuracy(
    strategy: Any, train: Any, test: Any, known: tuple[Tensor, Tensor] | None = None
) -> float:
    """Tell a task's test images apart by the class means of its training images.

    In class-incremental learning the rows of an unseen task's head are untrained, so forward
    transfer (Lopez-Paz and Ranzato 2017) is measured on the features: nearest class mean,
    cosine, among the task's own classes. Call it under the weights that evaluation uses.

    Args:
        strategy: gives encoder, device, precision and batch size.
        train, test: the experiences of one task.
        known: features ``(n, d)`` and class ids ``(n,)`` of the training images, if at hand.

    Returns:
        The fraction of test images classified rightly, in [0, 1].
    """
    model = strategy.model
    was_training = model.training
    model.eval()
    features, targets = known or features_of(strategy, train)
    features = features.float()
    probe = NearestClassMean(features.shape[1], model.head.n_classes).to(features.device)
    probe.feed(features, targets)
    features, targets = features_of(strategy, test)
    model.train(was_training)
    return float(in_float64(probe(features).argmax(1) == targets).mean())


@torch.no_grad()
def features_of(strategy: Any, experience: Any) -> tuple[Tensor, Tensor]:
    """Give features ``(n, d)``, fp32, and class ids ``(n,)`` of an experience's images.

    Call it with the model in evaluation mode, under the weights that evaluation uses.

    Args:
        strategy: gives encoder, device, precision and batch size.
        experience: its images are taken as they are in evaluation.
    """
    features, targets = [], []
    with preserved():
        batches = iter(DataLoader(experience.dataset.eval(), strategy.eval_mb_size))
    for batch in batches:
        with strategy.autocast():
            encoding = strategy.model.encode(batch[0].to(strategy.device))
        features.append(encoding.features.float())
        targets.append(batch[1].to(strategy.device))
    return torch.cat(features), torch.cat(targets)


def forward_transfer(before: list[float], untouched: list[float]) -> float | None:
    """Average the gain of later tasks over the untouched backbone, in percentage points.

    ``FWT = 1/(T-1) sum_{j>=2} (a_{j-1,j} - z_j)``; None for fewer than two tasks.

    Args:
        before: accuracy on task j just before it is trained, for j = 2 .. T.
        untouched: the same with the model as it was before the first task.
    """
    if not before or len(before) != len(untouched):
        return None
    return 100 * sum(a - z for a, z in zip(before, untouched)) / len(before)
