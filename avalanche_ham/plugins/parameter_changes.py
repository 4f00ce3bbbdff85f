"""Keep plugins that hold a value per parameter in step with parameters that come and go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from avalanche.training.plugins import (
    EarlyStoppingPlugin,
    RWalkPlugin,
    SupervisedPlugin,
    SynapticIntelligencePlugin,
)
from avalanche.training.utils import ParamData
from torch import nn


class ParameterChangesPlugin(SupervisedPlugin, supports_distributed=True):
    """Stands between a method's plugins and the user's, and tells the user's what has changed.

    EWC, SI, MAS and RWalk keep a ``ParamData`` per parameter, by name, and take for granted
    that a name stays and its tensor never shrinks. Here a task's adapter is gone once it is
    consolidated, the next task's bears its name, and the scalars have one entry more while it
    is open. So values of parameters that are gone are dropped before the user's plugins
    consolidate: nobody holds a new adapter to an old one's place.
    """

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Let RWalk, which looks when training begins, look at the new parameters, too."""
        for plugin in strategy.plugins:
            if isinstance(plugin, RWalkPlugin):
                plugin.before_training(strategy)

    def phase_begins(self, strategy: Any) -> None:
        """Introduce what a phase has made trainable after the experience began."""
        for plugin in strategy.plugins:
            if isinstance(plugin, SynapticIntelligencePlugin):
                _introduce(plugin, strategy.model)
            elif isinstance(plugin, RWalkPlugin):
                _start_walking(plugin, strategy)
            elif isinstance(plugin, EarlyStoppingPlugin):
                plugin.before_training_exp(strategy)  # a state of before would not fit

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Go back to training mode, which RWalk's look at the gradient leaves."""
        if not strategy.model.training:
            strategy.model.train()

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Drop what the user's plugins know of parameters that are gone."""
        parameters = dict(strategy.model.named_parameters())
        some = {name: parameter for name, parameter in parameters.items() if parameter.numel()}
        for plugin in strategy.plugins:
            # RWalk asks each value for its maximum, which scalars do not have when none is left
            _keep_up(vars(plugin), some if isinstance(plugin, RWalkPlugin) else parameters)


def _keep_up(node: Any, parameters: Mapping[str, nn.Parameter]) -> None:
    """Walk through a plugin's containers; drop or cut ``ParamData`` by its parameter's name."""
    if isinstance(node, dict):
        for name, value in list(node.items()):
            if not isinstance(value, ParamData):
                _keep_up(value, parameters)
            elif name in parameters:
                _cut(value, parameters[name])
            else:
                del node[name]
    elif isinstance(node, (list, tuple)):
        for value in node:
            _keep_up(value, parameters)


def _cut(value: ParamData, parameter: nn.Parameter) -> None:
    """Shorten a value, as SI's perhaps flat, to what is left of its parameter."""
    flat = len(value.shape) == 1
    shape = (parameter.numel(),) if flat else tuple(parameter.shape)
    if shape and value.data.shape[0] > shape[0]:
        kept = value.data[: shape[0]].clone()
        value.reset_like(shape)
        value.data = kept


@torch.no_grad()
def _introduce(plugin: SynapticIntelligencePlugin, model: nn.Module) -> None:
    """Give SI the parameters that it has not met, at the values where they start."""
    known = set(plugin.ewc_data[0])
    excluded = plugin.excluded_parameters
    plugin.create_syn_data(model, plugin.ewc_data, plugin.syn_data, excluded)
    for name, parameter in plugin.allowed_parameters(model, excluded):
        if name not in known:
            plugin.ewc_data[0][name].data = parameter.detach().cpu().flatten()


def _start_walking(plugin: RWalkPlugin, strategy: Any) -> None:
    """Give RWalk the parameters that it has not met; its scores of the others go on."""
    scores, losses, places = (
        plugin.checkpoint_scores,
        plugin.checkpoint_loss,
        plugin.checkpoint_params,
    )
    plugin.before_training(strategy)
    plugin.checkpoint_scores.update(scores)
    plugin.checkpoint_loss.update(losses)
    plugin.checkpoint_params.update(places)
