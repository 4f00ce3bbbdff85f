"""What every closed-form readout is: fed task after task, without old images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from avalanche_ham.errors import HamError, OptionError


class Readout(nn.Module):
    """A classifier from statistics of features; it predicts once a class has been fed.

    A head trained with a local loss compares logits that were never trained against each other; a
    readout has no such gap. Subclasses add buffers, which are saved with the model, and override
    ``feed`` and ``forward``. It works on any features, with or without a strategy:

    >>> from avalanche_ham.heads import NearestClassMean
    >>> readout = NearestClassMean(2, 3)
    >>> readout.fit(torch.eye(2), torch.tensor([2, 0])).predict(torch.eye(2)).tolist()
    [2, 0]

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        seed: of whatever a readout draws.
    """

    counts: Tensor
    follows = False  # whether it asks for ``follow``, so for a pass over a task before it trains
    views = "none"  # of ``heads.drift.views``: copies of the images that it asks for, too

    def __init__(self, in_features: int, n_classes: int, *, seed: int = 0) -> None:
        super().__init__()
        self.in_features = in_features
        self.register_buffer("counts", torch.zeros(n_classes))  # images of each class
        self._solved: Any = None  # what a prediction needs, until the statistics change

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Readout:
        """Follow the model to a device or to float64, but keep statistics out of half precision.

        Sums over thousands of images lose everything in its seven bits.
        """

        def at_least_fp32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            half = moved.is_floating_point() and moved.dtype.itemsize < 4
            return tensor.to(moved.device) if half else moved

        self._solved = None
        return super()._apply(at_least_fp32, recurse)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._solved = None
        super()._load_from_state_dict(*args)

    @property
    def is_fed(self) -> bool:
        """Whether any class has been fed."""
        return bool(self.counts.any())

    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Take a part of a task, features ``(N, d)`` of classes ``(N,)``, into the statistics."""
        raise NotImplementedError

    def follow(self, before: Tensor, after: Tensor) -> Readout:
        """Move what is known of old classes as the features of a task's images have moved.

        Asked for where ``follows`` is set, once a task and before its images are fed.

        Args:
            before: features ``(n, d)`` of the task's images, and of what ``views`` makes of them,
                under the weights of before the task.
            after: of the same images, in the same order, after it.

        Returns:
            The readout itself.

        Raises:
            OptionError: if they are not finite tensors of that shape.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """Choose what can be chosen only once the whole task has been fed."""

    def update(self, features: Tensor, targets: Tensor) -> Readout:
        """Learn a task beside what is known: features ``(N, d)`` of classes ``(N,)``.

        Returns:
            The readout itself.

        Raises:
            OptionError: if the features are not finite tensors of that shape, or a class is none of
                ``n_classes``.
        """
        targets = self._checked(features, targets)
        self.feed(features, targets)
        self.settle()
        return self

    def fit(self, features: Tensor, targets: Tensor) -> Readout:
        """Forget everything, then ``update``."""
        self._checked(features, targets)  # before anything is forgotten
        self.load_state_dict({k: torch.zeros_like(v) for k, v in self.state_dict().items()})
        return self.update(features, targets)

    def _checked(self, features: Tensor, targets: Tensor) -> Tensor:
        """Check a task's features and classes; gives the classes as torch indexes by them."""
        if not isinstance(targets, Tensor) or targets.dim() != 1 or targets.is_floating_point():
            raise OptionError("targets", "a tensor (N,) of class ids", _kind(targets))
        check_features("features", features, (len(targets), self.in_features))
        if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < len(self.counts):
            allowed = f"classes from 0 to {len(self.counts) - 1}"
            raise OptionError("targets", allowed, (int(targets.min()), int(targets.max())))
        return targets.to(self.counts.device).long()

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Give the class ``(N,)`` of each feature in ``(N, d)``, among those fed.

        Raises:
            OptionError: if the features are not finite tensors of that shape.
            HamError: if no class has been fed.
        """
        check_features("features", features, (None, self.in_features))
        if not self.is_fed:
            raise HamError("readout: no class has been fed, so none can be predicted; fit it first")
        return self(features).argmax(1)

    def solution(self) -> dict[str, Tensor]:
        """Give all tensors that a prediction needs, for export."""
        return dict(self.named_buffers())


def check_features(name: str, features: Any, shape: tuple[int | None, int]) -> None:
    """Refuse what are no finite features; looking at the numbers makes a GPU wait.

    Args:
        name: of the argument.
        features: what was given.
        shape: that it must have; None allows any number of rows.

    Raises:
        OptionError: if it is no tensor, of another shape, or not finite.
    """
    wanted = f"({'N' if shape[0] is None else shape[0]}, {shape[1]})"
    if not isinstance(features, Tensor):
        raise OptionError(name, f"a tensor of shape {wanted}", _kind(features))
    found = tuple(features.shape)
    if len(found) != 2 or found[1] != shape[1] or shape[0] not in (None, found[0]):
        raise OptionError(name, f"of shape {wanted}", found)
    finite = features.isfinite()
    if not finite.all():
        raise OptionError(name, "finite numbers", float(features[~finite][0]))


def _kind(given: Any) -> str:
    """Name what was given in place of a tensor, or the tensor's own kind."""
    if isinstance(given, Tensor):
        return f"{given.dtype} of shape {tuple(given.shape)}"
    return type(given).__name__
