"""A classifier that grows by one small linear layer a task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from avalanche.models import DynamicModule
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.errors import OptionError

UNSEEN = -1e4  # logit of a class not seen yet; -inf would make losses NaN


class IncrementalHead(DynamicModule):
    """Linear classifier over all classes seen, logits at the true class ids.

    Each task's rows are tensors of their own, so that weight decay and momentum cannot touch
    the rows of earlier tasks. Grows in training only; evaluation changes nothing.

    The rows of classes that come back train again, from where they are. Where only some of a
    tensor's classes are back, the gradient of its other rows is zero (a weight decay of the
    optimiser's would still reach those; the strategies here never decay heads).

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark, the width of the logits.
        train_old_rows: whether earlier tasks' rows go on training (loss scope ``seen``).
    """

    classes: Tensor  # ids in the order of the rows, shape (seen,)
    like: Tensor

    def __init__(self, in_features: int, n_classes: int, *, train_old_rows: bool = False) -> None:
        super().__init__()
        self.in_features, self.n_classes = in_features, n_classes
        self.train_old_rows = train_old_rows
        self.tasks: Any = nn.ModuleList()  # in one list, so that names never change their order
        self.current: list[int] = []
        self._back: dict[int, Tensor] = {}  # of partly open tensors: which rows train, (rows,)
        self.register_buffer("classes", torch.zeros(0, dtype=torch.long))
        self.register_buffer("like", torch.zeros(0), persistent=False)  # follows .to(...)

    @property
    def weights(self) -> list[Tensor]:
        """Weight of each task's rows, ``(rows, d)``."""
        return [task.weight for task in self.tasks]

    @property
    def biases(self) -> list[Tensor]:
        """Bias of each task's rows, ``(rows,)``."""
        return [task.bias for task in self.tasks]

    def adaptation(self, experience: object) -> None:
        """Grow for the classes of an Avalanche experience (called by every strategy)."""
        if self.training:
            self.grow(classes_of(experience))

    def grow(self, classes: Iterable[int]) -> None:
        """Add rows for the classes not seen yet and freeze those of classes not here.

        Classes that come back keep their rows, and these train again. With
        ``train_old_rows`` all rows train.

        Raises:
            OptionError: if an id is outside ``[0, n_classes)``.
        """
        ids = sorted(int(c) for c in classes)
        if ids and not 0 <= ids[0] <= ids[-1] < self.n_classes:
            raise OptionError("class ids", f"from 0 to {self.n_classes - 1}", ids)
        self.current = ids
        new = [c for c in ids if c not in set(self.classes.tolist())]
        self._back = {}
        rows = self.classes.split(list(map(len, self.biases)))
        for index, (task, theirs) in enumerate(zip(self.tasks, rows, strict=True)):
            back = torch.isin(theirs, theirs.new_tensor(ids))
            task.requires_grad_(self.train_old_rows or bool(back.any()))
            if not self.train_old_rows and back.any() and not back.all():
                self._back[index] = back
        if not new:
            return
        self._append(len(new))
        nn.init.trunc_normal_(self.tasks[-1].weight, std=0.02)
        self.classes = torch.cat([self.classes, self.classes.new_tensor(new)])

    def _append(self, rows: int) -> None:
        task = nn.utils.skip_init(
            nn.Linear,
            self.in_features,
            rows,
            device=self.like.device,
            dtype=self.like.dtype,
        )
        nn.init.zeros_(task.weight)
        nn.init.zeros_(task.bias)
        self.tasks.append(task)

    def newest(self) -> list[nn.Parameter]:
        """The parameters that train: rows of the classes that are here, or all."""
        return [p for p in self.parameters() if p.requires_grad]

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``(N, d)`` to logits ``(N, n_classes)``; unseen classes get -1e4."""
        full = features.new_full((features.shape[0], self.n_classes), UNSEEN)
        if not len(self.tasks):
            return full
        rows, offsets = torch.cat(self._open(self.weights)), torch.cat(self._open(self.biases))
        logits = F.linear(features, rows, offsets)
        full = full.to(logits.dtype)
        return full.index_copy(1, self.classes, logits)

    def _open(self, tensors: list[Tensor]) -> list[Tensor]:
        """Cut the gradient of rows that stay closed in a tensor with rows that are back."""
        for index, back in self._back.items():
            one = tensors[index]
            mask = back.to(one.device).view(-1, *[1] * (one.dim() - 1))
            tensors[index] = torch.where(mask, one, one.detach())
        return tensors

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        saved = state.get(prefix + "classes")
        if saved is not None:
            if len(saved) != len(self.classes):
                self._back = {}
            self.classes = self.classes.new_zeros(len(saved))
            while len(self.tasks) and prefix + f"tasks.{len(self.tasks) - 1}.bias" not in state:
                del self.tasks[-1]
            while prefix + f"tasks.{len(self.tasks)}.bias" in state:
                self._append(len(state[prefix + f"tasks.{len(self.tasks)}.bias"]))
        super()._load_from_state_dict(state, prefix, *args)


def classes_of(experience: Any) -> list[int]:
    """List an experience's class ids, also where its benchmark keeps no timeline of them."""
    known = getattr(experience, "classes_in_this_experience", None)
    ids = experience.dataset.targets if known is None else known
    return sorted({int(c) for c in ids})
