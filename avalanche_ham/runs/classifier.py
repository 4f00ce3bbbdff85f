"""A finished run as a function from images to the scores of the classes it has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avalanche_ham.errors import HamError, StateError, UnknownNameError
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.export import saved_run, strategy_of


@dataclass(frozen=True)
class Classifier:
    """What tells classes apart, ready to use.

    Attributes:
        names: of the classes, in the order of the scores.
        side: of the images that it takes, in pixels; ``decode`` makes such from a file.
        scores: maps uint8 images ``(N, 3, side, side)`` to ``(N, len(names))`` on the CPU; the
            larger, the likelier. Their scale is the head's: logits, cosines, regression scores.
    """

    names: tuple[str, ...]
    side: int
    scores: Callable[[Tensor], Tensor]


@contextmanager
def run_classifier(
    folder: Path, *, head: str | None = None, device: str = "auto"
) -> Iterator[Classifier]:
    """Give the classifier that a run's evaluation used, after its latest task.

    Args:
        folder: of the run, with its state.
        head: one of the heads that the run has; None takes its first.
        device: ``auto``, ``cpu``, ``cuda``, ...

    Raises:
        StateError: if the folder holds no complete state of a run.
        UnknownNameError: if the run has no such head.
        HamError: if the method has to be told the task of each image.
    """
    place = Resources(device=device).torch_device()
    tree = saved_run(folder)
    names, side = labels_of(tree)
    strategy = strategy_of(tree)
    model = strategy.model
    if strategy.knows_task:
        raise HamError("predict: this method has to be told the task of each image")
    choose_head(model, head)
    strategy.device = place
    model.to(place)
    seen = seen_classes(model)

    @torch.no_grad()
    def scores(images: Tensor) -> Tensor:
        with strategy.autocast():
            found: Tensor = model(images.to(place))
        return found[:, seen.to(place)].float().cpu()

    with strategy.evaluation_weights():
        yield Classifier(tuple(names[label] for label in seen.tolist()), side, scores)


def labels_of(tree: dict[str, Any]) -> tuple[list[str], int]:
    """Give the names of a run's classes, and the side in pixels of the images it was made with.

    Raises:
        StateError: if the state holds none, as those of earlier versions.
    """
    if "class_names" not in tree:
        raise StateError("the run was made before runs kept class names; please make it again")
    return tree["class_names"], tree["image_side"]


def choose_head(model: Any, head: str | None) -> None:
    """Let one of the model's heads predict; None leaves its first.

    Raises:
        UnknownNameError: if the model has no such head.
    """
    if head is not None and head not in model.heads:
        raise UnknownNameError("head", head, model.heads)
    model.predictor = head or model.predictor


def seen_classes(model: Any) -> Tensor:
    """List the labels that the model's predictor can tell, in ascending order."""
    readout = model.readout
    if readout is not None and readout.is_fed:
        return readout.counts.nonzero()[:, 0].cpu()
    labels: Tensor = model.head.classes.sort().values
    return labels.cpu()
