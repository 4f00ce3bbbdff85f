"""SEMA: adapters that are added only where a task's inputs are new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import check_range, check_whole
from avalanche_ham.seeding import preserved
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies._loop import Phase
from avalanche_ham.strategies.sema.adapter import WINDOW, BlockAdapters
from avalanche_ham.strategies.sema.expanding import ExpandingEncoder


class SEMAStrategy(ContinualStrategy):
    """Expand the last blocks by an adapter each, when their descriptors are surprised.

    SEMA (Wang et al., CVPR 2025), Sec. 3. The first experience gives every block an adapter.
    In each later one::

        detect     batches, in eval mode, block after block from the shallow end: if even the
                   best descriptor's mean |z| is above the threshold, that block is expanded
        functional new adapter, its router row and the classifier's new rows train
        descriptor the new descriptors train; then all that is new is frozen
        detect     goes on with the next batch; whole passes, until one adds nothing

    A block gets at most one adapter per experience. Where nothing is added the classifier
    trains alone. ``train_epochs`` or ``steps`` are the budget of each functional phase.

    Args:
        model: from ``create_model``; its encoder is wrapped here.
        hidden: width of the adapters' bottleneck, at least 1.
        descriptor_width: width of the descriptors' code, at least 1.
        expandable: the number of blocks, counted from the last, that may expand; all blocks
            where there are fewer; at least 0.
        threshold: mean ``|z|`` above which inputs are new, at least 0 (1 for ImageNet-A, VTAB).
        detect_batch_size: images per detection batch, at least 1.
        descriptor_steps: optimiser steps of each descriptor phase, at least 1; None takes as many
            steps or epochs as the functional phase.
        descriptor_lr: learning rate of the descriptors, above 0, the release's by default: at
            an adapter's rate they hardly learn and nothing ever surprises them. None takes the
            optimiser's.
        recompute_statistics: take the descriptors' statistics from a pass after their
            training. The release takes training's last 500 losses, which at short budgets are
            those of a descriptor that still learns.
        kwargs: of ``ContinualStrategy``. The release: SGD, momentum 0.9, lr 5e-3.

    Raises:
        OptionError: if an argument is outside its range.
        HamError: if the model's encoder is wrapped already.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        hidden: int = 16,
        descriptor_width: int = 128,
        expandable: int = 3,
        threshold: float = 2.0,
        detect_batch_size: int = 128,
        descriptor_steps: int | None = None,
        descriptor_lr: float | None = 1e-2,
        recompute_statistics: bool = True,
        **kwargs: Any,
    ) -> None:
        check_range("threshold", threshold, 0.0, float("inf"))
        check_whole("detect_batch_size", detect_batch_size, 1)
        budget = {"descriptor_steps": descriptor_steps, "descriptor_lr": descriptor_lr}
        for name, value in budget.items():
            if value is not None:
                check_range(name, value, 0.0, float("inf"), open_low=True)
        self.threshold, self.detect_batch_size = threshold, detect_batch_size
        self.descriptor_steps, self.descriptor_lr = descriptor_steps, descriptor_lr
        self.recompute_statistics = recompute_statistics
        encoder = ExpandingEncoder(
            model.encoder,
            hidden=hidden,
            descriptor_width=descriptor_width,
            expandable=expandable,
        )
        model.replace_encoder(encoder)
        super().__init__(model=model, **kwargs)
        added: Any = {str(i): [] for i, _ in enumerate(self.encoder.blocks)}
        self.memory = {"added": added, "surprises": []}
        self._trained: dict[int, int] = {}  # what trained in this task, and its size

    @property
    def encoder(self) -> ExpandingEncoder:
        """The model's encoder."""
        return self.model.encoder

    def begin_task(self, experience: Any) -> None:
        """Give every block its first adapter, in the first experience."""
        if self.task == 0:
            for index in range(len(self.encoder.blocks)):
                self._grow(index)

    def make_optimizer(self, **kwargs: Any) -> None:
        """Refill the optimiser, and count anew what trains."""
        self._trained = {}
        super().make_optimizer(**kwargs)

    def phases(self) -> Iterator[Phase]:
        """Yield a functional and a descriptor phase per expansion, or one for the head."""
        if self.task == 0:
            yield from self._learn()
            return
        before = self.encoder.n_adapters
        for _ in self._expansions():
            yield from self._learn()
        if self.encoder.n_adapters == before:
            yield self._functional()

    def end_task(self, experience: Any) -> None:
        """Freeze what is new, also if training was stopped half-way."""
        self.encoder.each(BlockAdapters.freeze)

    def describe(self) -> Any:
        """Give each block's number of adapters, the tasks that added them, and ``surprises``.

        Those are the largest values that each later task compared with the threshold.
        """
        added = self.memory["added"].items()
        return {
            "adapters": {block: len(tasks) for block, tasks in added},
            **self.memory,
        }

    def refresh(self) -> None:
        """Rebuild the adapters, for their saved weights to be loaded into."""
        self.encoder.each(BlockAdapters.clear)
        with preserved():
            for index, tasks in self.memory["added"].items():
                for _ in tasks:
                    self.encoder.grow(int(index))
        self.encoder.each(BlockAdapters.freeze)

    @property
    def n_trainable(self) -> int:
        """Number of parameters that trained in any phase of the latest task."""
        return sum(self._trained.values()) if self._trained else super().n_trainable

    def _learn(self) -> Iterator[Phase]:
        """Train what is new, first adapters, then descriptors; freeze it (Sec. 3.5)."""
        self.encoder.each(BlockAdapters.train_adapter)
        yield self._functional()
        self.encoder.each(BlockAdapters.train_descriptor)
        descriptors = [p for p in self.encoder.parameters() if p.requires_grad]
        if descriptors:
            rates = {} if self.descriptor_lr is None else {"lr": self.descriptor_lr}
            steps = self.descriptor_steps or self.steps
            yield self._phase("descriptors", steps, {"params": descriptors, **rates})
            if self.recompute_statistics:
                self._recompute()
        self.encoder.each(BlockAdapters.freeze)

    def _functional(self) -> Phase:
        return self._phase("functional", self.steps, *self.trainable_groups())

    def _phase(self, name: str, steps: int | None, *groups: dict[str, Any]) -> Phase:
        for group in groups:
            self._trained.update((id(p), p.numel()) for p in group["params"])
        return Phase(steps, self.train_epochs, groups, schedule="cosine", name=name)

    def _grow(self, index: int) -> None:
        self.encoder.grow(index)
        self.memory["added"][str(index)].append(self.task)

    def _expansions(self) -> Iterator[int]:
        """Expand a block and yield it, whenever a batch is unlike all that is known."""
        log = self.memory["surprises"]
        log.append(0.0)
        left = {i for i, b in enumerate(self.encoder.blocks) if b.expandable}
        before = -1
        while left and self.encoder.n_adapters > before:
            before = self.encoder.n_adapters
            for images in self._images():
                with self.autocast():
                    surprises = self.encoder.surprises(images)
                seen = {i: z for i, z in surprises.items() if i in left}
                log[-1] = max(log[-1], *seen.values())
                index = next((i for i, z in seen.items() if z > self.threshold), None)
                if index is not None:
                    left.discard(index)
                    self._grow(index)
                    yield index
                if not left:
                    return

    def _images(self) -> Iterator[Tensor]:
        """Give the experience's training images in shuffled batches, as training sees them."""
        data = self.experience.dataset.train()
        for batch in DataLoader(data, self.detect_batch_size, shuffle=True):
            images = batch[0].to(self.device)
            yield images if self.augment is None else self.augment(images)

    def _recompute(self) -> None:
        """Take the new descriptors' losses anew, now that they are trained."""
        self.encoder.each(BlockAdapters.forget)
        seen = 0
        for images in self._images():
            with self.autocast():
                self.encoder.observe(images)
            seen += len(images)
            if seen >= WINDOW:
                return
