"""A run's merged model as one plain network: preprocessing, transformer, head, seen classes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from avalanche_ham.adapters import dense
from avalanche_ham.adapters.peft_format import plain_copy
from avalanche_ham.backbones.encoder import VitEncoder
from avalanche_ham.errors import HamError, NoMatchError
from avalanche_ham.runs.classifier import choose_head, labels_of, seen_classes
from avalanche_ham.runs.export import strategy_of


class Folded(nn.Module):
    """Uint8 images ``(N, 3, side, side)`` to scores ``(N, len(names))`` of the seen classes.

    Args:
        encoder: with all updates in its weights.
        head: of all classes of the benchmark.
        seen: labels of the classes that are given, in order.
        names: of these classes.
        name: of the head.
        side: of the images in pixels.
    """

    seen: Tensor

    def __init__(
        self,
        encoder: VitEncoder,
        head: nn.Module,
        seen: Tensor,
        names: list[str],
        side: int,
        name: str,
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.names = encoder, head, names
        self.side, self.name = side, name
        self.register_buffer("seen", seen)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to scores; the larger, the likelier."""
        scores: Tensor = self.head(self.encoder(images).features)[:, self.seen]
        return scores


def fold(tree: dict[str, Any], *, head: str | None = None) -> Folded:
    """Fold what a run has learned into the weights of a plain network.

    Args:
        tree: the run's state, from ``saved_run``.
        head: one of the run's heads; None takes its first.

    Raises:
        NoMatchError: if the method changes more of the network than weights.
        StateError: if the state holds no names of classes, as those of earlier versions.
        UnknownNameError: if the run has no such head.
        HamError: if the method is told the task of each image, or a branch has no weight.
    """
    names, side = labels_of(tree)
    strategy = strategy_of(tree)
    model = strategy.model
    if strategy.knows_task:
        raise HamError("export: this method has to be told the task of each image")
    if type(model.encoder) is not VitEncoder:
        kind = type(model.encoder).__name__
        raise NoMatchError(f"export: this method folds nothing into the weights, it has a {kind}")
    choose_head(model, head)
    seen = seen_classes(model)
    encoder = VitEncoder(_with_update(model.encoder.vit, strategy))
    readout = model.readout
    fed = readout is not None and readout.is_fed
    folded = Folded(
        encoder,
        copy.deepcopy(readout if fed else model.head),
        seen,
        [names[label] for label in seen.tolist()],
        side,
        model.predictor if fed else "linear",
    )
    return folded.cpu().float().eval().requires_grad_(False)


def _with_update(vit: nn.Module, strategy: Any) -> Any:
    plain = plain_copy(vit)
    if strategy.adapters is not None:
        strategy.adapters.check_foldable()
        for name, change in (strategy.inference_update() or {}).items():
            layer: Any = plain.get_submodule(name)
            with torch.no_grad():
                layer.weight += dense(change).to(layer.weight)
    return plain
