"""P&M: train on the merged model, under perturbation, and take a part of each update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from avalanche_ham.adapters import Update, dense, low_rank_branches
from avalanche_ham.adapters.branch import check_branches
from avalanche_ham.adapters.low_rank import moved, scaled
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import check_range
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies.pm.importance import diagonal_fisher, merging_scale


class PMStrategy(ContinualStrategy):
    """Merge each task's LoRA into the weights by one number from a diagonal Fisher.

    Perturb-and-Merge (Qiu et al. 2025, https://arxiv.org/abs/2505.22389). For each experience::

        training   a fresh B A on the merged weights; at every step the update counts
                   1 - eps, 1 or 1 + eps times, each with probability 1/3
        after it   H_t = diagonal of the empirical Fisher at the weights that were trained
                   merged <- merged + alpha_t B A, alpha_t from all H_i (``merging_scale``)

    What is kept does not grow with the tasks: the merged change and two running sums, dense.

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of each adapter, at least 1 (the release's: 10).
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own, such as ``("k", "v")``, the
            release's; None adapts whole layers.
        perturbation: eps, in [0, 1).
        fisher_images: training images of each task, drawn at random, that H_t is taken from, at
            least 1; None takes all of them.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, NoMatchError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        perturbation: float = 0.5,
        fisher_images: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_range("perturbation", perturbation, 0.0, 1.0, open_high=True)
        if fisher_images is not None:
            check_range("fisher_images", fisher_images, 1, float("inf"))
        self.perturbation, self.fisher_images = perturbation, fisher_images
        self.make_branch = low_rank_branches(rank, slots=slots)
        check_branches(model.attach_adapters(targets).layers, self.make_branch)
        super().__init__(model=model, **kwargs)
        self.memory = {"update": {}, "importance": {}, "pull": {}, "scales": []}

    def begin_task(self, experience: Any) -> None:
        """Open a fresh adapter on the merged weights."""
        self.adapters.open(self.make_branch, train_scales=False)

    def forward(self) -> Tensor:
        """Give the logits; in training under an update that counts more or less than once."""
        if self.is_training and self.adapters.is_open and self.perturbation:
            self._count(1 + self.perturbation * (int(torch.randint(3, ())) - 1))
        return super().forward()

    def after_step(self) -> None:
        """Let the update count once again, as whoever looks between steps expects."""
        self._count(1.0)

    def end_task(self, experience: Any) -> None:
        """Weigh the task's weights, choose alpha_t and merge."""
        fisher = diagonal_fisher(self, self._images(experience))
        change = self.adapters.close()
        deltas = {name: dense(pair) for name, pair in change.items()}
        kept, pull = self.memory["importance"], self.memory["pull"]
        importance = {n: h + kept[n] if n in kept else h for n, h in fisher.items()}
        pull = {n: fisher[n] * d + pull.get(n, 0.0) for n, d in deltas.items()}
        alpha = merging_scale(deltas, importance, pull)
        taken = scaled(change, alpha)
        self.adapters.add(taken, scale=1.0, to=0 if self.adapters.n_terms else None)
        self.memory["update"] = self.adapters.term(0)
        self.memory["importance"] = importance
        # the merged weights have moved by alpha D, and every theta_i - merged with them
        self.memory["pull"] = {n: pull[n] - alpha * importance[n] * d for n, d in deltas.items()}
        self.memory["scales"].append(alpha)

    def inference_update(self) -> Update | None:
        """Fold the merged change, and what trains, into the weights."""
        return self.adapters.total() if self.adapters.is_open or self.adapters.n_terms else None

    def describe(self) -> Any:
        """Give alpha_t of each task."""
        return {"scales": self.memory["scales"]}

    def refresh(self) -> None:
        """Rebuild the merged change from what was saved; bring the sums to where the model is."""
        self.memory = moved(self.memory, self.device)
        if self.memory["update"]:
            self.adapters.add(self.memory["update"], scale=1.0)

    @torch.no_grad()
    def _count(self, times: float) -> None:
        self.adapters.scales[-1] = times

    def _images(self, experience: Any) -> Iterator[Any]:
        data = experience.dataset.eval()
        if self.fisher_images is not None:
            data = Subset(data, torch.randperm(len(data))[: self.fisher_images].tolist())
        yield from DataLoader(data, self.train_mb_size)
