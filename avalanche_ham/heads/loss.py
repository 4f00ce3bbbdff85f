"""Cross-entropy over an explicit set of classes: which logits compete with each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.heads.linear import IncrementalHead

SCOPES = ("current", "seen", "seen_frozen")


class ScopedCrossEntropy:
    """Cross-entropy whose softmax runs over the classes that the scope names.

    ``current``: the classes of the current experience only (local loss of InfLoRA, SD-LoRA,
    SEMA, L2P; old rows get no gradient). ``seen``: all classes seen, all rows train (plain
    fine-tuning). ``seen_frozen``: all classes seen, only the newest rows train.

    An experience of one class has no gradient under ``current`` (its softmax is 1), so there
    the scope is ``seen_frozen``. In evaluation all seen classes compete.

    ``reduction`` is that of ``nn.CrossEntropyLoss``: plugins such as ``MIRPlugin`` set it.

    Args:
        head: the head whose logits these are; tells the current classes.
        scope: one of ``current``, ``seen``, ``seen_frozen``.

    Raises:
        UnknownNameError: if the scope is none of these.
    """

    def __init__(self, head: IncrementalHead, scope: str = "current") -> None:
        if scope not in SCOPES:
            raise UnknownNameError("scope", scope, SCOPES)
        self.scope, self.reduction = scope, "mean"
        self.follow(head)
        self._known: tuple[Any, Tensor, Tensor] = ((), torch.empty(0), torch.empty(0))

    def follow(self, head: IncrementalHead) -> None:
        """Judge the logits of this head from now on."""
        self.head = head
        head.train_old_rows = self.scope == "seen"

    @property
    def effective_scope(self) -> str:
        """The scope in force for the current experience."""
        lonely = len(self.head.current) == 1
        return "seen_frozen" if lonely and self.scope == "current" else self.scope

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the (mean) loss of logits ``(N, n_classes)`` for class ids ``(N,)``, in fp32.

        Raises:
            OptionError: if the class ids are no tensor of whole numbers.
        """
        if self.head.training:
            return self.training_loss(logits, targets)
        logits, targets = at_least_fp32(logits), as_indices(targets)
        return F.cross_entropy(logits, targets, reduction=self.reduction)

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the loss under the scope, whatever mode the model is in.

        Raises:
            HamError: if the scope is ``current`` and a target is none of its classes, as with
                a replay plugin (checked on the CPU; torch's own assertion speaks on a GPU).
        """
        logits, targets = at_least_fp32(logits), as_indices(targets)
        if self.effective_scope == "current":
            current, place = self._places(logits)
            logits, targets = logits[:, current], place[targets]
            if targets.device.type == "cpu" and bool((targets < 0).any()):
                raise HamError(
                    "scope: current, but the batch holds images of other classes than the "
                    f"experience's {self.head.current}; use seen or seen_frozen"
                )
        return F.cross_entropy(logits, targets, reduction=self.reduction)

    def _places(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Give the current class ids, and each id's position among them, -1 for no position.

        Kept until the experience changes: a fresh tensor would make a GPU wait at every step.
        """
        what = (tuple(self.head.current), logits.shape[1], logits.device)
        if self._known[0] != what:
            current = torch.tensor(self.head.current, device=logits.device)
            place = torch.full((logits.shape[1],), -1, device=logits.device)
            place[current] = torch.arange(len(current), device=logits.device)
            self._known = (what, current, place)
        return self._known[1:]


def as_indices(targets: Any) -> Tensor:
    """Give class ids of any whole kind (int32, uint8, which torch takes for a mask) as int64."""
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.is_complex():
        kind = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise OptionError("labels", "whole numbers, class ids", str(kind))
    return targets.long()


def at_least_fp32(logits: Tensor) -> Tensor:
    """Widen 16-bit logits; softmax over many classes loses too much in them."""
    return logits.float() if logits.dtype.itemsize < 4 else logits
