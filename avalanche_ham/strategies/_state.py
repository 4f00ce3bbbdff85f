"""What a strategy has learned, as one tree: to save it, to go on from it, to undo a failure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from avalanche_ham.backbones.digest import remembered_digest
from avalanche_ham.errors import StateError
from avalanche_ham.state import Archive


class LearnedState:
    """Mixed into the template: gives and takes everything that survives a task."""

    # what the strategy brings along
    adapters: Any
    clock: Any
    memory: dict[str, Any]
    model: Any
    refresh: Any
    task: Any

    def state_tree(self) -> dict[str, Any]:
        """Copy everything that survives a task: ``memory`` and the model's learned tensors.

        Frozen backbone weights and the adapters' rebuilt terms are left out. What a backbone's
        layer counts beside its trained weights, such as a batch norm's statistics, is kept.
        Later training leaves the copy as it is; the model's tensors are in main memory.
        """
        return _snapshot(self.live_tree())

    def live_tree(self) -> dict[str, Any]:
        """Give ``state_tree`` without a copy, to be read at once: training changes it."""
        return {
            "task": self.task,
            "strategy": type(self).__name__,
            "backbone": remembered_digest(self.model.adaptable),
            "memory": self.memory,
            "model": self._learned_tensors(),
        }

    def _learned_tensors(self) -> dict[str, Tensor]:
        trained = {n for n, p in self.model.named_parameters() if p.requires_grad}
        layers = {name.rpartition(".")[0] for name in trained}
        frozen = {id(p) for p in self.model.parameters() if not p.requires_grad}
        backbone = {
            id(t) for t in (*self.model.adaptable.parameters(), *self.model.adaptable.buffers())
        }
        return {
            name: tensor.detach()
            for name, tensor in self.model.state_dict(keep_vars=True).items()
            if id(tensor) not in backbone
            or name in trained
            or (id(tensor) not in frozen and name.rpartition(".")[0] in layers)
        }

    def load_state_tree(self, tree: dict[str, Any]) -> None:
        """Continue from a saved ``state_tree``; what this strategy has learned is dropped.

        The tree stays as it is, so that it can be loaded again.

        Raises:
            StateError: if the tree is of another strategy or backbone, which changes nothing, or
                its tensors are not those of this model, which then is of no use any more.
        """
        self._check_origin(tree)
        self._take(tree)

    def _check_origin(self, tree: dict[str, Any]) -> None:
        """Refuse a tree that says it is another's; one of an earlier version says nothing."""
        mine = type(self).__name__
        if tree.get("strategy", mine) != mine:
            raise StateError(f"the saved state is of {tree['strategy']}, and this is {mine}")
        digest = remembered_digest(self.model.adaptable)
        saved = tree.get("backbone") or digest
        if digest and saved != digest:
            raise StateError(
                f"the saved state is of a backbone with weights {saved}, and this one has {digest}"
            )

    def _take(self, tree: dict[str, Any]) -> None:
        self.memory = _copied(tree["memory"])
        if self.adapters is not None:
            self.adapters.clear()
        try:
            self.refresh()
            found = self.model.load_state_dict(tree["model"], strict=False)
        except LookupError as error:
            raise StateError(f"the saved state lacks {error}, which this strategy needs") from error
        except RuntimeError as error:
            raise StateError(f"the saved state does not fit this model: {error}") from error
        if found.unexpected_keys:
            name = found.unexpected_keys[0]
            raise StateError(f"the saved state holds {name}, which this model lacks")
        lacking = set(found.missing_keys) & self._learned_tensors().keys()
        if lacking:
            raise StateError(f"the saved state lacks {min(lacking)}, which this model needs")
        self.clock.train_exp_counter = tree["task"]

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo what the body has learned if it raises, or is interrupted."""
        before = self.state_tree()
        try:
            yield
        except BaseException:  # Ctrl-C in a notebook, too
            self._take(before)
            raise


def _snapshot(tree: dict[str, Any]) -> dict[str, Any]:
    """Copy a state: tensors of the model into main memory, and the lists of ``memory``.

    Tensors of ``memory`` are shared, as they are replaced and never changed in place.
    """
    model = {name: tensor.detach().cpu().clone() for name, tensor in tree["model"].items()}
    return {**tree, "memory": _copied(tree["memory"]), "model": model}


def _copied(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    if isinstance(node, Archive):
        return node.copied()
    if isinstance(node, list):
        return [_copied(value) for value in node]
    return node
