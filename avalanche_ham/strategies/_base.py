"""The one base of all strategies: what Avalanche's template needs to train adapters rightly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from avalanche.training.plugins.evaluation import default_evaluator
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor

from avalanche_ham.adapters import Update
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import HamError, check_sequence
from avalanche_ham.heads import ScopedCrossEntropy
from avalanche_ham.plugins._rates import follow, narrow_schedulers
from avalanche_ham.plugins.final_merging import FinalMergingPlugin
from avalanche_ham.plugins.parameter_changes import ParameterChangesPlugin
from avalanche_ham.plugins.readout import ReadoutPlugin
from avalanche_ham.seeding import forked, preserved
from avalanche_ham.strategies._arguments import check_arguments
from avalanche_ham.strategies._augment import Augment, make_augment
from avalanche_ham.strategies._first_tasks import FirstTasks
from avalanche_ham.strategies._loop import Phase, PhasedTraining
from avalanche_ham.strategies._optimizer import default_optimizer, refill
from avalanche_ham.strategies._parts import CheckedParts, check_needs, check_scope, held_by
from avalanche_ham.strategies._state import LearnedState


class ContinualStrategy(CheckedParts, LearnedState, FirstTasks, PhasedTraining, SupervisedTemplate):
    """A class-incremental strategy on a ``ContinualModel``.

    The order of calls for one experience::

        train                         own random state, from seed and task
          (readouts that follow the drift see the images under the weights of before)
          begin_task                  new parameters
          plugins: before_train_dataset_adaptation
          (head grows, old rows freeze)
          make_optimizer              exactly the trainables, fresh state
          phases -> steps             after_step once after each of them
          probe                       optional look at the un-merged model
          end_task                    merge, fold or store
          plugins: after_training_exp readout fed under merged weights, then the user's
        eval                          merged weights entered and left, nothing random

    Subclasses override ``begin_task``, ``end_task``, ``inference_update`` and, rarely,
    ``trainable_groups``, ``phases``, ``after_step``, ``penalty`` and ``refresh``. What survives
    a task is a tensor of the model or stands in ``memory``, a nested dict or list of updates,
    tensors, numbers and strings.

    Args:
        model: from ``create_model``, for this strategy alone.
        optimizer: refilled at every experience, see ``make_optimizer``. None gives AdamW.
        lr: learning rate of the default optimiser, above 0.
        weight_decay: of adapters and backbone, at least 0; heads and scalars never decay.
        head_lr: learning rate of the head, above 0; None takes the optimiser's.
        scope: classes in the training softmax, one of ``current``, ``seen`` or ``seen_frozen``
            (older rows of the head stay as they are).
        steps: optimiser steps per experience, at least 1; None trains whole epochs.
        precision: of forward passes, one of ``fp32`` or ``bf16`` (autocast).
        augment: one of ``none``, ``flip`` or ``flip_crop``, drawn once per training batch; or a
            function from a uint8 or float batch ``(N, C, H, W)`` to the same.
        min_steps: fewest optimiser steps, at least 1, where the budget is in epochs.
        adapt_tasks: number of first tasks, at least 1, in which the method trains; in later ones
            features stay and heads alone learn. None trains in all of them.
        seed: of everything random in training, at least 0.
        train_mb_size: images in a training batch, at least 1.
        train_epochs: passes over an experience's images, at least 1, where no steps are given.
        eval_mb_size: images in an evaluation batch, at least 1.
        device: as in Avalanche.
        plugins: as in Avalanche. Its ``EWCPlugin`` weighs parameters in evaluation mode, so
            under all classes seen and the readout; ``EWCPenalty`` does it under the scope that
            trains.
        evaluator: as in Avalanche.
        eval_every: as in Avalanche. A readout is fed when a task ends, so metrics (and early
            stopping) within a task do not see it know the task's classes.
        peval_mode: as in Avalanche.

    Raises:
        UnknownNameError, OptionError: if an argument is outside its range.
    """

    schedule = "constant"  # of the rate, one of ``SCHEDULES``
    regulariser: Any = None  # a penalty of the method itself
    knows_task = False  # whether evaluation tells the method which experience an image is of

    def __init__(
        self,
        *,
        model: ContinualModel,
        optimizer: torch.optim.Optimizer | None = None,
        lr: float = 5e-4,
        weight_decay: float = 0.0,
        head_lr: float | None = None,
        scope: str = "current",
        steps: int | None = None,
        precision: str = "fp32",
        augment: str | Augment = "none",
        min_steps: int | None = None,
        adapt_tasks: int | None = None,
        seed: int = 0,
        train_mb_size: int = 64,
        train_epochs: int = 1,
        eval_mb_size: int = 256,
        device: str | torch.device = "cpu",
        plugins: Sequence[Any] | None = None,
        evaluator: Any = default_evaluator,
        eval_every: int = -1,
        peval_mode: str = "epoch",
        **kwargs: Any,
    ) -> None:
        check_arguments(
            lr=lr,
            weight_decay=weight_decay,
            head_lr=head_lr,
            steps=steps,
            min_steps=min_steps,
            adapt_tasks=adapt_tasks,
            precision=precision,
            seed=seed,
            train_mb_size=train_mb_size,
            train_epochs=train_epochs,
            eval_mb_size=eval_mb_size,
            device=device,
        )
        self.scoped_loss = ScopedCrossEntropy(model.head, scope)
        self.head_lr = head_lr
        self.steps, self.precision, self.seed = steps, precision, seed
        self.augment, self.min_steps = make_augment(augment), min_steps
        self.adapt_tasks = adapt_tasks
        self.alpha_lr: float | None = None
        self.memory: dict[str, Any] = {}
        self.probe: Any = None
        self._penalties: list[Tensor] = []  # the encoder's, on the current mini-batch
        self._features: list[Tensor] = []  # (N, d), likewise
        self.merging = FinalMergingPlugin(model.adapters, update=self.inference_update)
        self.readouts = ReadoutPlugin(self.merging)
        self.changes = ParameterChangesPlugin()
        plugins = check_sequence("plugins", plugins or ())
        common = [self.merging, self.readouts, self.changes]
        check_scope((*plugins, self.regulariser), scope)
        optimizer = optimizer or default_optimizer(lr=lr, weight_decay=weight_decay)
        super().__init__(
            model=model,
            optimizer=optimizer,
            criterion=self.scoped_loss,
            train_mb_size=train_mb_size,
            train_epochs=train_epochs,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=[*self.own_plugins(), *common, *plugins],
            evaluator=evaluator,
            eval_every=eval_every,
            peval_mode=peval_mode,
            **kwargs,
        )
        self.model.to(self.device)
        # not None, so that Avalanche never fills the optimiser itself
        self.optimized_param_id: dict[str, Any] = {}

    # ---- what a method says ---------------------------------------------------------------

    def own_plugins(self) -> list[Any]:
        """The method's plugins, in the order of their work; they run before the user's."""
        return []

    def begin_task(self, experience: Any) -> None:
        """Create the parameters of a new task."""

    def end_task(self, experience: Any) -> None:
        """Merge, fold or store what the task has learned."""

    def phases(self) -> Iterator[Phase]:
        """Yield the training phases of the current experience."""
        yield Phase(steps=self.steps, epochs=self.train_epochs, schedule=self.schedule)

    def after_step(self) -> None:
        """Look at or change the parameters after an optimiser step.

        ``step`` already counts that step, in ``phase``. Values are changed in place
        (``AdapterSet.assign``), so that the optimiser keeps its parameters and its state.
        """

    def penalty(self) -> Tensor | None:
        """Give a term to add to the training loss, or None; ``_features`` are the batch's."""
        return None

    def inference_update(self) -> Update | None:
        """Give the weight change that evaluation uses; None leaves the model as it is."""
        return None

    def refresh(self) -> None:
        """Rebuild what follows from ``memory`` when a saved state is loaded.

        The adapters hold no terms and no branch when this is called.
        """

    def trainable_groups(self) -> list[dict[str, Any]]:
        """Split everything that requires a gradient: adapter or backbone, scalars, head."""
        scales = [] if self.adapters is None else [self.adapters.scales]
        apart = {id(p) for p in (*scales, *self.model.head.parameters())}
        rest = [p for p in self.model.parameters() if id(p) not in apart]
        groups: list[dict[str, Any]] = [
            {"params": rest},
            {"params": scales, "name": "scalars", "weight_decay": 0.0, "lr": self.alpha_lr},
            self.head_group(),
        ]
        for group in groups:
            group["params"] = [p for p in group["params"] if p.requires_grad]
        return [group for group in groups if group["params"]]

    def head_group(self) -> dict[str, Any]:
        """Give the parameter group of the head's rows that train."""
        rows = self.model.head.newest()
        return {"params": rows, "name": "head", "weight_decay": 0.0, "lr": self.head_lr}

    def probed_updates(self) -> dict[str, Update]:
        """Give weight changes that a record also looks at on the task's images, by name.

        Asked for when the task has been trained, just before ``end_task``.
        """
        return {}

    def describe(self) -> Any:
        """Give what a record should tell of the method's inner state, in plain types."""
        return None

    @property
    def n_trainable(self) -> int:
        """Number of trainable parameters in the latest task."""
        return sum(p.numel() for g in self.optimizer.param_groups for p in g["params"])

    @contextlib.contextmanager
    def evaluation_weights(self, experience: Any = None) -> Iterator[None]:
        """Run the body under the weights that evaluation uses, then leave them.

        Args:
            experience: what is evaluated; read only by a method that ``knows_task``.
        """
        if self.adapters is None:
            yield
            return
        with self.adapters.merged(self.inference_update()):
            yield

    # ---- what Avalanche calls -------------------------------------------------------------

    @property
    def adapters(self) -> Any:
        """The model's ``AdapterSet``, None if the method has none."""
        return self.model.adapters

    @property
    def task(self) -> int:
        """Number of experiences trained before the current one."""
        return self.clock.train_exp_counter

    def train(self, experiences: Any, eval_streams: Any = None, **kwargs: Any) -> Any:
        """Train on one experience or a stream, each in a random state of its own.

        An experience whose training is interrupted or fails leaves the strategy as it was
        before, so that it can be trained again. Args and returns as Avalanche's ``train``,
        but a generator's experiences are drawn one at a time, so without ``eval_streams``
        each is evaluated on itself where another stream's are on them all.
        """
        self.check_memory()
        if hasattr(experiences, "dataset"):
            experiences = [experiences]
        whole = None if isinstance(experiences, Iterator) else [experiences]
        for experience in experiences:
            streams = eval_streams if eval_streams is not None else whole or [[experience]]
            with self.all_or_nothing(), forked(self.seed, "train", self.task), self.at_rest():
                super().train(experience, list(streams), **kwargs)
        return self.evaluator.get_last_metrics()

    @torch.no_grad()
    def eval(self, exp_list: Any, **kwargs: Any) -> Any:
        """Evaluate under merged weights; nothing random, nothing changed, also on errors."""
        depth = self.merging.depth  # a plugin may evaluate within an evaluation
        with preserved():
            try:
                return super().eval(exp_list, **kwargs)
            finally:
                self.merging.leave(depth)

    def make_optimizer(self, **kwargs: Any) -> None:
        """Refill the optimiser with the current trainables; its old state is dropped.

        The first group that the optimiser was made with, called ``adapter`` unless it has a
        name, takes the adapter or backbone. Behind the user's groups (a second one stays empty)
        come ``scalars`` and ``head``, without decay, all else as in the first. In every
        experience the groups have these names and places.

        A scheduler moves the user's groups alone, and their rate goes on from one experience to
        the next until it resets it (``LRSchedulerPlugin(reset_lr=True)`` does). ``alpha_lr``
        and ``head_lr`` hold where the first group has its base rate b, its ``initial_lr`` or
        the ``max_lr`` of a one-cycle policy; before each step the rates of all groups are::

            adapter  lr        scalars  alpha_lr * lr / b        head  head_lr * lr / b

        (``lr`` where these are None), times a phase's own cosine. Torch's schedulers find the
        user's groups alone if a plugin has them as an attribute, as ``LRSchedulerPlugin`` does.
        """
        self.end_annealing()
        refill(self.optimizer, self.trainable_groups() if self.adapts else self.groups_of_head)
        narrow_schedulers(self.plugins, self.optimizer)

    def forward(self) -> Tensor:
        """Give the logits of the current mini-batch; keeps the encoder's penalty, and features."""
        self._penalties, self._features = [], []
        with self.autocast():
            if self.is_training and not self.adapts:
                return self.logits_on_kept_features()
            return self.model(self.mb_x, penalties=self._penalties, features=self._features)

    def criterion(self) -> Tensor:
        """Scoped cross-entropy, in training with the encoder's and the method's penalties."""
        loss = self._criterion(self.mb_output, self.mb_y)
        if self.is_training and self.adapts:
            for extra in (*self._penalties, self.penalty()):
                loss = loss if extra is None else loss + extra
        self._penalties, self._features = [], []  # which would keep the graph; nothing copies it
        return loss

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The precision of forward passes."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _unpack_minibatch(self) -> None:
        super()._unpack_minibatch()
        if self.is_training and self.augment is not None:
            self.mbatch[0] = self.augment(self.mbatch[0])

    def _before_training_iteration(self, **kwargs: Any) -> None:
        follow(self.optimizer)
        super()._before_training_iteration(**kwargs)

    def _after_training_iteration(self, **kwargs: Any) -> None:
        self.end_annealing()
        super()._after_training_iteration(**kwargs)

    def _before_train_dataset_adaptation(self, **kwargs: Any) -> None:
        if not len(self.experience.dataset):
            raise HamError("the experience has no images, so nothing can be trained on it")
        check_needs((*self.plugins, *self.evaluator.metrics), self.experience, self.model)
        self.tell_of_task_labels()
        self.readouts.look(self)  # ahead of new parameters: under what evaluation has used so far
        if self.adapts:
            self.begin_task(self.experience)
        super()._before_train_dataset_adaptation(**kwargs)

    def _before_eval_exp(self, **kwargs: Any) -> None:
        check_needs(self.evaluator.metrics, self.experience, self.model)
        self.tell_of_task_labels()
        super()._before_eval_exp(**kwargs)

    def _before_training_exp(self, **kwargs: Any) -> None:
        held = held_by(self.plugins)  # SI adds the new parameters in what follows
        super()._before_training_exp(**kwargs)
        self.tell_of_idle(held)
        for plugin in self.plugins:
            if isinstance(plugin, PeriodicEval):  # the last epoch's came before end_task
                plugin.do_final = plugin.eval_every > -1

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.check_parameters()
        with contextlib.nullcontext() if self.adapts else self.evaluation_weights():
            if self.probe is not None:
                self.probe(self)
        if self.adapts:
            self.end_task(self.experience)
        super()._after_training_exp(**kwargs)
