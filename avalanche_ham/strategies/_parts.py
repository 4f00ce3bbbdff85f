"""What a strategy is made of, and one line at once where a part of it cannot work."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable
from typing import Any

from avalanche.evaluation.metrics.amca import AMCAPluginMetric
from avalanche.evaluation.metrics.class_accuracy import ClassAccuracyPluginMetric
from avalanche.evaluation.metrics.confusion_matrix import StreamConfusionMatrix
from avalanche.evaluation.metrics.images_samples import ImagesSamplePlugin
from avalanche.evaluation.metrics.labels_repartition import LabelsRepartitionPlugin
from avalanche.evaluation.metrics.topk_acc import TopkAccuracyPluginMetric
from avalanche.training.plugins import (
    AGEMPlugin,
    EWCPlugin,
    GDumbPlugin,
    GEMPlugin,
    GSS_greedyPlugin,
    LwFPlugin,
    MASPlugin,
    MIRPlugin,
    RARPlugin,
    ReplayPlugin,
    RWalkPlugin,
    SynapticIntelligencePlugin,
)
from torch import nn

from avalanche_ham.adapters.linear import check_untouched
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.penalties import ReplayPenalty

REHEARSES = (
    AGEMPlugin,
    GDumbPlugin,
    GEMPlugin,
    GSS_greedyPlugin,
    MIRPlugin,
    RARPlugin,
    ReplayPenalty,
    ReplayPlugin,
)
NEEDS_TASK_LABELS = (
    LwFPlugin,
    MIRPlugin,
    AMCAPluginMetric,
    ClassAccuracyPluginMetric,
    ImagesSamplePlugin,
    LabelsRepartitionPlugin,
    TopkAccuracyPluginMetric,
)
HOLDS = {  # penalties on how far parameters move -> names with importances, of earlier tasks
    EWCPlugin: lambda p: itertools.chain(*(of.items() for of in p.importances.values())),
    MASPlugin: lambda p: (p.importance or {}).items(),
    RWalkPlugin: lambda p: (p.exp_penalties or {}).items(),
    SynapticIntelligencePlugin: lambda p: p.ewc_data[1].items(),
}


class CheckedParts:
    """Mixed into the template, first of all: looks at its arguments, model and experiences."""

    # what the strategy brings along
    experience: Any
    optimizer: Any
    merging: Any
    own_plugins: Any
    scoped_loss: Any

    _model: Any = None
    _told_of_task_labels = False
    _told_of_idle: frozenset[str] = frozenset()  # names of plugins

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Look at the arguments before any method touches the model.

        Raises:
            HamError: for positional arguments or a ``criterion``.
            OptionError: if ``model`` is no ``ContinualModel``.
        """
        if args:
            raise HamError(
                f"{cls.__name__} takes its arguments by name: model=..., optimizer=..., as every "
                "Avalanche strategy does"
            )
        if "criterion" in kwargs:
            raise HamError(
                "criterion: the loss is cross-entropy over the classes that scope names; choose "
                "scope='current', 'seen' or 'seen_frozen' in its place"
            )
        if "model" in kwargs:  # a copy is made without arguments
            check_model(kwargs["model"])
        return super().__new__(cls)

    @property
    def model(self) -> Any:
        """The ``ContinualModel``; a copy of it may be put in its place at any time."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        check_model(model)
        if self._model is not None and model is not self._model:
            check_successor(self._model, model)
        self._model = model
        self.scoped_loss.follow(model.head)
        for plugin in (*self.own_plugins(), self.merging):
            plugin.adapters = model.adapters

    def tell_of_task_labels(self) -> None:
        """Warn, once, that an experience has task labels, which no method here reads."""
        labels = getattr(self.experience, "task_labels", None) or [0]
        if any(labels) and not self._told_of_task_labels:
            self._told_of_task_labels = True
            warnings.warn(
                f"task labels (here {labels}) are ignored: one head for all classes, which all "
                "compete; accuracy_row also gives the accuracy with the task known",
                stacklevel=2,
            )

    def tell_of_idle(self, held: dict[str, set[str]]) -> None:
        """Warn, once a plugin, that none of the parameters that it holds trains in this task."""
        stepped = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        named = self.model.named_parameters()
        trained = {name for name, p in named if p.requires_grad and id(p) in stepped}
        for kind, names in held.items():
            if kind not in self._told_of_idle and not names & trained:
                self._told_of_idle |= {kind}
                reason = "it found no parameter important in earlier tasks"
                if names:
                    reason = (
                        "no parameter that it found important in earlier tasks trains in this "
                        "one; those of lora and l2p do"
                    )
                warnings.warn(f"{kind} has no effect: {reason}", stacklevel=2)


def held_by(plugins: Iterable[Any]) -> dict[str, set[str]]:
    """Name the parameters that each penalty holds; a penalty that has seen no task is left out."""
    found = {}
    for plugin in plugins:
        for kind, importances in HOLDS.items():
            items = list(importances(plugin)) if isinstance(plugin, kind) else []
            if items:
                found[type(plugin).__name__] = {name for name, value in items if value.data.any()}
    return found


def check_model(model: Any) -> None:
    """Refuse what is no ``ContinualModel``, wrapped ones included.

    Raises:
        OptionError: saying what to give instead.
    """
    if isinstance(model, ContinualModel):
        return
    kind = type(model).__name__
    allowed = "made by create_model(backbone, n_classes=...)"
    inner = getattr(model, "module", getattr(model, "_orig_mod", None))
    if isinstance(inner, ContinualModel):
        allowed = f"the model itself and not wrapped in {kind}"
        if hasattr(model, "_orig_mod"):
            allowed += "; compile with model.encoder.compile()"
    elif isinstance(model, nn.Module):
        allowed += ", which takes a timm ViT as its backbone"
    raise OptionError("model", allowed, _Kind(kind))


class _Kind(str):
    """The name of a type, shown as it is: a whole network is no part of one line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def check_successor(old: ContinualModel, new: ContinualModel) -> None:
    """Refuse a model in another's place that lacks what the other has learned.

    Raises:
        OptionError: if adapters are missing, or terms, or classes.
    """
    if _learned(new) != _learned(old):
        raise OptionError("strategy.model", f"one with {_learned(old)}", _Kind(_learned(new)))


def _learned(model: ContinualModel) -> str:
    found = model.adapters
    layers = 0 if found is None else len(found.layers)
    terms = 0 if found is None else found.n_terms
    return f"{layers} adapted layers, {terms} terms and {len(model.head.classes)} classes"


def check_scope(plugins: Iterable[Any], scope: str) -> None:
    """Refuse what trains on images of earlier classes under a loss that has no place for them.

    Raises:
        OptionError: naming the plugin.
    """
    for plugin in plugins:
        if scope == "current" and isinstance(plugin, REHEARSES):
            allowed = f"seen or seen_frozen: {type(plugin).__name__} brings images of past classes"
            raise OptionError("scope", allowed, scope)


def check_needs(plugins: Iterable[Any], experience: Any, model: nn.Module) -> None:
    """Refuse plugins and metrics that read what the benchmark or the model does not have.

    A model without adapters whose network got those of another model is refused, too.

    Raises:
        HamError: naming the part, what it reads, and what to do.
    """
    if model.adapters is None:
        check_untouched("model", model)
    labelled = hasattr(experience.dataset, "targets_task_labels")
    for plugin in plugins:
        kind = type(plugin).__name__
        if isinstance(plugin, NEEDS_TASK_LABELS) and not labelled:
            raise HamError(
                f"{kind} reads task labels, and this benchmark has none; one made by "
                "avalanche.benchmarks.nc_benchmark has them"
            )
        if isinstance(plugin, MIRPlugin) and not all(p.requires_grad for p in model.parameters()):
            raise HamError(
                f"{kind} differentiates by every parameter, and most of this model are frozen; "
                "ReplayPlugin works"
            )
        pictures = isinstance(plugin, StreamConfusionMatrix) and plugin._save_image
        if pictures and not hasattr(experience, "benchmark"):
            raise HamError(
                f"{kind} draws its picture in the order of experience.benchmark, which this "
                "benchmark lacks; give save_image=False"
            )
