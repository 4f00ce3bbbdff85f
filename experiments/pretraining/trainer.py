"""One training run: recipe, optimiser step, moving average, validation, checkpoint."""

from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from pretraining.sources import FeatureSource, ImageSource, generator
from pretraining.student import Goals, Student, loss
from pretraining.teacher import Targets
from pretraining.views import mix
from torch import Tensor
from torch.nn import functional as F

MEASURED = 1000  # images that the statistics of the stem's features rest on


@dataclass(frozen=True)
class Recipe:
    """How to train.

    ``minutes`` of training (or ``steps``, if above 0) are the budget; ``keep`` of the tokens are
    used in its first part ``keep_until``; ``mix`` is the share of batches with mixup or cutmix;
    ``weights`` are those of labels, teacher's probabilities, teacher's features, and of the
    mean of the stem's own features, which carries over to other images best.
    """

    minutes: float = 60.0
    steps: int = 0
    batch: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    keep: float = 0.5
    keep_until: float = 0.4
    mix: float = 0.0
    smoothing: float = 0.1
    average: float = 0.998
    weights: tuple[float, float, float, float] = (0.3, 1.0, 60.0, 60.0)
    seed: int = 0
    save_seconds: float = 60.0
    validations: int = 6


class Trainer:
    """Everything that a checkpoint holds, and the step that moves it on."""

    def __init__(
        self,
        student: Student,
        source: ImageSource | FeatureSource,
        labels: Tensor,
        targets: Targets | None,
        recipe: Recipe,
        device: torch.device,
    ) -> None:
        self.student, self.source, self.labels = student.to(device), source, labels
        self.targets, self.recipe, self.device = targets, recipe, device
        if "stem" in student.heads:
            some = torch.arange(0, len(labels), max(1, len(labels) // MEASURED))
            student.measure_stem(source.maps(student.vit, source.batch(some, epoch=0)))
        self.average = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            _decay_groups(self.student, recipe.weight_decay),
            lr=recipe.lr,
            betas=(0.9, 0.98),
            fused=True,  # the default loops over tensors on a CPU
        )
        both = zip(self.student.parameters(), self.average.parameters(), strict=True)
        pairs = [(new, mean) for new, mean in both if new.requires_grad]
        self.trained, self.means = map(list, zip(*pairs))
        self.order = -1, torch.empty(0)  # epoch and its order of images
        self.step, self.seconds = 0, 0.0

    @property
    def progress(self) -> float:
        """The share of the budget that is used, from 0 on."""
        if self.recipe.steps:
            return self.step / self.recipe.steps
        return self.seconds / (60 * self.recipe.minutes)

    def train_step(self) -> float:
        """Take one optimiser step and give its loss."""
        recipe, progress = self.recipe, self.progress
        random = generator(recipe.seed, 3, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.lr * schedule(progress, recipe.warmup)
        inputs, goals = self._batch(random)
        keep = recipe.keep if progress < recipe.keep_until else 1.0
        with torch.autocast(self.device.type, torch.bfloat16):
            outputs = self.student(self.source, inputs, keep, random)
        value = loss(outputs, goals, recipe.weights)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        self.step += 1
        self._average()
        return value.item()

    def _batch(self, random: torch.Generator) -> tuple[Tensor, Goals]:
        recipe, n = self.recipe, len(self.labels)
        size = min(recipe.batch, n)
        epoch, position = divmod(self.step, n // size)
        if self.order[0] != epoch:
            random_order = generator(recipe.seed, 4, epoch)
            self.order = epoch, torch.randperm(n, generator=random_order)
        indices = self.order[1][position * size : (position + 1) * size].sort().values
        inputs, goals = self.source.batch(indices, epoch), self._goals(indices)
        if torch.rand(1, generator=random).item() < recipe.mix:
            inputs, partners, share = mix(inputs, generator=random)
            goals = goals.mixed(partners, share)
        return inputs, goals

    def _goals(self, indices: Tensor) -> Goals:
        classes = self.student.heads["labels"].out_features
        labels = F.one_hot(self.labels[indices].to(self.device), classes).float()
        labels = labels * (1 - self.recipe.smoothing) + self.recipe.smoothing / classes
        if self.targets is None:
            return Goals(labels)
        rows = indices.numpy()
        answers, features = (
            torch.from_numpy(x[rows]).float() for x in (self.targets.logits, self.targets.features)
        )
        features = (features - self.targets.mean) / self.targets.std
        return Goals(labels, answers.softmax(1).to(self.device), features.to(self.device))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.means, self.trained, 1 - decay)

    @torch.inference_mode()
    def validate(self, labels: Tensor) -> float:
        """Give the accuracy of the averaged weights on the validation images, in percent."""
        hits = 0
        for start in range(0, len(labels), 500):
            stop = min(start + 500, len(labels))
            inputs = self.source.validation(start, stop)
            guess = self.average(self.source, inputs)["labels"].argmax(1).cpu()
            hits += int((guess == labels[start:stop]).sum())
        return 100 * hits / len(labels)

    def save(self, path: Path) -> None:
        """Write the checkpoint under another name first, so that a kill leaves a whole one."""
        state = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint; no code in it is executed."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]


def schedule(progress: float, warmup: float) -> float:
    """Give the factor of the learning rate: linear warm-up, then a cosine to 1 %."""
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    done = min(1.0, (progress - warmup) / (1 - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _decay_groups(student: Student, decay: float) -> list[dict]:
    trained = [p for p in student.parameters() if p.requires_grad]
    vit = student.vit
    plain = [p for p in trained if p.ndim < 2 or p is vit.pos_embed or p is vit.cls_token]
    rest = [p for p in trained if all(p is not q for q in plain)]
    return [{"params": rest, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
