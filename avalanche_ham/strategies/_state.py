"""What a strategy has learned, as one tree: to save it, to go on from it, to undo a failure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

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
        trained = {n for n, p in self.model.named_parameters() if p.requires_grad}
        layers = {name.rpartition(".")[0] for name in trained}
        frozen = {id(p) for p in self.model.parameters() if not p.requires_grad}
        backbone = {
            id(t) for t in (*self.model.adaptable.parameters(), *self.model.adaptable.buffers())
        }
        tensors = {
            name: tensor.detach()
            for name, tensor in self.model.state_dict(keep_vars=True).items()
            if id(tensor) not in backbone
            or name in trained
            or (id(tensor) not in frozen and name.rpartition(".")[0] in layers)
        }
        return {"task": self.task, "memory": self.memory, "model": tensors}

    def load_state_tree(self, tree: dict[str, Any]) -> None:
        """Continue from a saved ``state_tree``; what this strategy has learned is dropped.

        The tree stays as it is, so that it can be loaded again.

        Raises:
            StateError: if the tree belongs to another kind of model.
        """
        self.memory = _copied(tree["memory"])
        if self.adapters is not None:
            self.adapters.clear()
        self.refresh()
        try:
            wrong = self.model.load_state_dict(tree["model"], strict=False).unexpected_keys
        except RuntimeError as error:
            raise StateError(f"the saved state does not fit this model: {error}") from error
        if wrong:
            raise StateError(f"the saved state holds {wrong[0]}, which this model lacks")
        self.clock.train_exp_counter = tree["task"]

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo what the body has learned if it raises, or is interrupted."""
        before = self.state_tree()
        try:
            yield
        except BaseException:  # Ctrl-C in a notebook, too
            self.load_state_tree(before)
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
