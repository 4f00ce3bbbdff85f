"""What a strategy has learned, as one tree: to save it, to go on from it, to undo a failure."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from avalanche.training.plugins import EarlyStoppingPlugin, EvaluationPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor

from avalanche_ham.backbones.digest import remembered_digest
from avalanche_ham.errors import StateError
from avalanche_ham.plugins._rates import schedulers_of
from avalanche_ham.plugins._schedule import (
    put_schedule,
    put_settings,
    schedule_of,
    settings_of,
)
from avalanche_ham.state import Archive

# of Avalanche's, what begins anew with each experience, or is told of in the documentation
RENEWED = (Clock, EarlyStoppingPlugin, EvaluationPlugin, PeriodicEval)


class LearnedState:
    """Mixed into the template: gives and takes everything that survives a task."""

    # what the strategy brings along
    adapters: Any
    clock: Any
    memory: dict[str, Any]
    model: Any
    refresh: Any
    task: Any
    optimizer: Any
    plugins: Any

    _scheduled: tuple[float, ...]
    _told_of_plugins: frozenset[str] = frozenset()  # names

    def state_tree(self) -> dict[str, Any]:
        """Copy everything that survives a task: ``memory`` and the model's learned tensors.

        Frozen backbone weights and the adapters' rebuilt terms are left out. What a backbone's
        layer counts beside its trained weights, such as a batch norm's statistics, is kept.
        Later training leaves the copy as it is; the model's tensors are in main memory.
        """
        return _snapshot(self.live_tree())

    def live_tree(self) -> dict[str, Any]:
        """Give ``state_tree`` without a copy, to be read at once: training changes it."""
        schedulers = schedulers_of(self.plugins)
        schedule = {"schedule": schedule_of(self.optimizer, schedulers)} if schedulers else {}
        return {
            **schedule,
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
        self._put_state(tree)
        resumed = self._put_schedule(tree.get("schedule"))
        if self.task:
            self._tell_of_plugins(resumed)

    def _put_schedule(self, saved: dict[str, Any] | None) -> list[Any]:
        """Set rates and schedulers as they were saved; gives the schedulers, none if others."""
        schedulers = schedulers_of(self.plugins)
        if not saved or saved["kinds"] != [type(one).__name__ for one in schedulers]:
            return []
        put_schedule(self.optimizer, schedulers, saved)
        return schedulers

    def _tell_of_plugins(self, resumed: list[Any]) -> None:
        """Warn, once a plugin, that what a user's plugin has learned is in no saved state."""
        for plugin in self.plugins:
            kind = type(plugin).__name__
            if _starts_anew(plugin, resumed) and kind not in self._told_of_plugins:
                self._told_of_plugins |= {kind}
                warnings.warn(
                    f"{kind} goes on as it is: a saved state holds nothing of plugins that are not "
                    "avalanche_ham's, but for learning rate schedulers",
                    stacklevel=3,
                )

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

    def _put_state(self, tree: dict[str, Any]) -> None:
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

    def check_memory(self) -> None:
        """Refuse terms of tasks that nothing is known of, as after ``model.load_state_dict``.

        Raises:
            StateError: naming what keeps both.
        """
        terms = 0 if self.adapters is None else self.adapters.n_terms
        if terms and self.memory and not self.task and not _holds_anything(self.memory):
            raise StateError(
                f"the model holds {terms} terms of adapters, and the strategy knows of no task: a "
                "state_dict lacks what is known of tasks; save_tree and load_tree keep it"
            )

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo what the body has learned if it raises, or is interrupted.

        Rates and schedulers of the user's go back, too; what other plugins hold does not.
        """
        before, settings = self.state_tree(), settings_of(self.optimizer)
        try:
            yield
        except BaseException:  # Ctrl-C in a notebook, too
            self._put_state(before)
            self._put_schedule(before.get("schedule"))
            put_settings(self.optimizer, settings)  # also without a scheduler of torch's
            self._scheduled = ()  # rates of the step that was cut short
            raise


def _starts_anew(plugin: Any, resumed: list[Any]) -> bool:
    """Whether a plugin is a user's, keeps something, and not for one experience alone."""
    kept = [value for value in vars(plugin).values() if not callable(value)]
    known = type(plugin).__module__.startswith("avalanche_ham.") or isinstance(plugin, RENEWED)
    return bool(kept) and not known and not any(one in resumed for one in schedulers_of([plugin]))


def _snapshot(tree: dict[str, Any]) -> dict[str, Any]:
    """Copy a state: tensors of the model into main memory, and the lists of ``memory``.

    Tensors of ``memory`` are shared, as they are replaced and never changed in place.
    """
    model = {name: tensor.detach().cpu().clone() for name, tensor in tree["model"].items()}
    return {**tree, "memory": _copied(tree["memory"]), "model": model}


def _holds_anything(node: Any) -> bool:
    if isinstance(node, (dict, list)):
        return any(map(_holds_anything, node.values() if isinstance(node, dict) else node))
    return True


def _copied(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    if isinstance(node, Archive):
        return node.copied()
    if isinstance(node, list):
        return [_copied(value) for value in node]
    return node
