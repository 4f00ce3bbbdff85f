"""Sec. 3.2.1: a fresh adapter with an importance scalar, trained beside frozen groups."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from avalanche.training.plugins import SupervisedPlugin

from avalanche_ham.adapters import AdapterSet, low_rank_branches
from avalanche_ham.errors import HamError, OptionError, check_range
from avalanche_ham.plugins._order import check_order, check_place
from avalanche_ham.plugins._rates import add_group, follow, narrow_schedulers
from avalanche_ham.seeding import preserved

NEGLIGIBLE = 0.05  # |alpha| under which a term has practically left the model


class AlphaBalancingPlugin(SupervisedPlugin, supports_distributed=True):
    """Open a low-rank adapter for every experience and balance it against the groups.

    The adapter's factors, its scalar alpha_t and the scalars of all groups train; the
    groups' own weights stay frozen (Eq. 2). Works with any supervised strategy: parameters
    are created before Avalanche builds the optimiser, and the scalars get a parameter group
    ``scalars``, without decay. ``alpha_lr`` is their rate where the adapter's group has its
    base rate; a scheduler that moves that moves both alike.

    ``memory["alphas"]`` lists, for each experience, the scalars before and after training:
    groups first, the new adapter last.

    Args:
        adapters: must be part of the strategy's model.
        rank: rank r of an adapter, at least 1.
        slots: parts of a fused qkv with factors of their own, None for all of it in one.
        alpha: start of alpha_t, a finite number other than 0.
        alpha_lr: learning rate of the scalars; None takes the optimiser's.
        train_alphas: False keeps every scalar where it starts.

    Raises:
        OptionError: if the rank does not fit a layer, or another argument is out of range.
    """

    place = 0  # among HAM's plugins

    def __init__(
        self,
        adapters: AdapterSet,
        *,
        rank: int = 16,
        slots: Sequence[str] | None = None,
        alpha: float = 1.0,
        alpha_lr: float | None = None,
        train_alphas: bool = True,
    ) -> None:
        super().__init__()
        check_range("alpha", alpha, float("-inf"), float("inf"), open_low=True, open_high=True)
        if not alpha:  # B starts at 0, so neither would ever move
            raise OptionError("alpha", "a number other than 0", alpha)
        if not isinstance(train_alphas, bool):
            raise OptionError("train_alphas", "True or False", train_alphas)
        if alpha_lr is not None:
            check_range("alpha_lr", alpha_lr, 0.0, float("inf"))
        self.adapters, self.alpha, self.alpha_lr = adapters, alpha, alpha_lr
        self.train_alphas = train_alphas
        self.make_branch = low_rank_branches(rank, slots=slots)
        with preserved():
            for name, layer in adapters.layers.items():
                self.make_branch(name, layer)  # says now, not in mid-training, if it cannot fit
        self._start: list[float] = []  # the scalars when the task began
        self._learned = False  # whether the newest adapter's task has come to its end
        self.memory: dict[str, Any] = {"alphas": []}

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Check that the plugins stand in the order of their work."""
        check_order(strategy, self.adapters)

    def before_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        """Open the adapter; the earliest hook, so that the optimiser finds its parameters."""
        check_place(strategy, self.adapters)
        if self.adapters.is_open and self._learned:
            raise HamError(
                "plugins: nobody has closed the last task's adapter; put an "
                "AdapterGroupingPlugin after AlphaBalancingPlugin"
            )
        if self.adapters.is_open:  # left by a training that was interrupted
            self.adapters.close()
            with torch.no_grad():  # its steps moved the groups' scalars, too
                self.adapters.scales.copy_(torch.tensor(self._start[:-1]))
        self.adapters.open(self.make_branch, scale=self.alpha, train_scales=self.train_alphas)
        self._start, self._learned = self.adapters.scales.tolist(), False

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Give the scalars a parameter group of their own, unless the strategy has."""
        optimizer, scales = strategy.optimizer, self.adapters.scales
        factor = next(next(iter(self.adapters.layers.values())).branch.parameters())
        theirs, mine = _place_of(optimizer, factor), _place_of(optimizer, scales)
        if theirs is None or mine is None:  # nothing trains, or the scalars do not
            return
        group = optimizer.param_groups[mine]
        own = {"weight_decay": 0.0, "lr": self.alpha_lr}
        own = {k: v for k, v in own.items() if k in group and v is not None}
        if "own" not in group and any(own[k] != group[k] for k in own):
            group["params"] = [p for p in group["params"] if p is not scales]
            add_group(optimizer, [scales], "scalars", own, follows=theirs)
        narrow_schedulers(strategy.plugins, optimizer)
        follow(optimizer)

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Let the scalars' rate follow what a scheduler has made of the adapter's."""
        follow(strategy.optimizer)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Log the scalars and warn if one has become negligible."""
        end, self._learned = self.adapters.scales.tolist(), True
        self.memory["alphas"].append({"start": self._start, "end": end})
        for index, alpha in enumerate(end):
            if abs(alpha) < NEGLIGIBLE:
                who = "the new adapter" if index == len(end) - 1 else f"group {index}"
                warnings.warn(
                    f"alpha of {who} is {alpha:.3f}: it hardly takes part any more",
                    stacklevel=2,
                )


def _place_of(optimizer: torch.optim.Optimizer, parameter: Any) -> int | None:
    """Find the parameter group that a parameter is in."""
    groups = enumerate(optimizer.param_groups)
    return next((k for k, g in groups if any(p is parameter for p in g["params"])), None)
