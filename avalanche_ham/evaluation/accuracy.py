"""One pass over all seen tasks: a row of the accuracy matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader

from avalanche_ham.errors import DivergedError
from avalanche_ham.heads.linear import classes_of
from avalanche_ham.seeding import preserved


@dataclass(frozen=True)
class AccuracyRow:
    """Accuracy of one model on the tasks seen so far.

    Attributes:
        accuracy: fraction right per task among all seen classes, in [0, 1].
        task_known: the same when only the task's own classes compete.
        images: number of test images per task.
        right: whether each test image was told right among all seen classes, in order.
    """

    accuracy: list[float]
    task_known: list[float]
    images: list[int]
    right: list[bool]


def evaluate(
    strategy: Any,
    experiences: Sequence[Any],
    heads: Sequence[str],
    kept: list[Tensor] | None = None,
) -> dict[str, AccuracyRow]:
    """Evaluate under the weights that evaluation uses, entered and left here.

    One pass, see ``accuracy_rows`` and its ``kept``; one for each experience where the method is
    told the task.
    """
    if not strategy.knows_task:
        with strategy.evaluation_weights():
            return accuracy_rows(strategy, experiences, heads, kept)
    parts = []
    for experience in experiences:
        with strategy.evaluation_weights(experience):
            parts.append(accuracy_rows(strategy, [experience], heads))
    return {head: _joined([part[head] for part in parts]) for head in heads}


def accuracy_row(strategy: Any, experiences: Sequence[Any]) -> AccuracyRow:
    """Evaluate a strategy's model, as it is, on several test experiences in one pass.

    Who predicts is the model's ``predictor``; see ``accuracy_rows`` for several heads.
    Call it under the weights that evaluation uses (``strategy.evaluation_weights``).

    Args:
        strategy: gives model, device, precision and batch size.
        experiences: test experiences of the seen tasks, in order.
    """
    name = strategy.model.predictor
    return accuracy_rows(strategy, experiences, [name])[name]


@torch.no_grad()
def accuracy_rows(
    strategy: Any,
    experiences: Sequence[Any],
    heads: Sequence[str],
    kept: list[Tensor] | None = None,
) -> dict[str, AccuracyRow]:
    """Evaluate several heads on the same features: see ``accuracy_row``.

    One loader over all images, one forward pass each, counts bucketed by experience on the
    device: no loader is started per task and nothing is synchronised per batch.

    Args:
        strategy: see ``accuracy_row``.
        experiences: see there.
        heads: names.
        kept: features ``(N, d)`` of the first whole batches, from an evaluation of the same encoder
            on no more of the same experiences; those of further whole batches are appended.

    Raises:
        DivergedError: if features are not finite: what the last step of a training did is seen
            by no loss.
    """
    model, device = strategy.model, strategy.device
    was_training = model.training
    model.eval()
    data = [experience.dataset.eval() for experience in experiences]
    sizes = [len(d) for d in data]
    tasks = torch.arange(len(data)).repeat_interleave(torch.tensor(sizes)).to(device)
    masks = _class_masks(experiences, model.head.n_classes).to(device)
    counts = torch.zeros(len(heads), 2, len(data), dtype=torch.long, device=device)
    right = torch.zeros(len(heads), sum(sizes), dtype=torch.bool, device=device)
    sound = torch.ones((), dtype=torch.bool, device=device)
    start = 0
    try:
        for features, targets in _encoded(strategy, ConcatDataset(data), kept):
            rows = slice(start, start + len(targets))
            owner, start = tasks[rows], rows.stop
            sound &= features.isfinite().all()
            for index, head in enumerate(heads):
                with strategy.autocast():
                    logits = model.classify(features, head)
                sound &= ~logits.isnan().any()
                known = logits.masked_fill(~masks[owner], -torch.inf)
                right[index, rows] = logits.argmax(1) == targets
                counts[index, 0].index_add_(0, owner, right[index, rows].long())
                counts[index, 1].index_add_(0, owner, (known.argmax(1) == targets).long())
    finally:
        model.train(was_training)
    if not sound:
        raise DivergedError(
            f"features or logits of test images are not finite after task {len(data)}; a smaller "
            "lr usually helps"
        )
    return {
        head: AccuracyRow(_fractions(seen, sizes), _fractions(known, sizes), sizes, told)
        for head, (seen, known), told in zip(heads, counts.tolist(), right.tolist(), strict=True)
    }


def _encoded(
    strategy: Any, data: ConcatDataset, kept: list[Tensor] | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give features and class ids batch by batch; see ``accuracy_rows`` for ``kept``."""
    device = strategy.device
    with preserved():  # even a loader that does not shuffle draws a random number
        batches = iter(DataLoader(data, batch_size=strategy.eval_mb_size))
    for place, batch in enumerate(batches):
        targets = batch[1].to(device, non_blocking=True)
        if kept is not None and place < len(kept):
            yield kept[place], targets
            continue
        with strategy.autocast():
            features = strategy.model.encode(batch[0].to(device, non_blocking=True)).features
        if kept is not None and len(targets) == strategy.eval_mb_size:
            kept.append(features)
        yield features, targets


def _joined(rows: Sequence[AccuracyRow]) -> AccuracyRow:
    values = [[x for row in rows for x in getattr(row, f.name)] for f in fields(AccuracyRow)]
    return AccuracyRow(*values)


def _class_masks(experiences: Sequence[Any], n_classes: int) -> Tensor:
    masks = torch.zeros(len(experiences), n_classes, dtype=torch.bool)
    for row, experience in zip(masks, experiences, strict=True):
        row[classes_of(experience)] = True
    return masks


def _fractions(counts: list[int], sizes: list[int]) -> list[float]:
    return [count / size for count, size in zip(counts, sizes, strict=True)]
