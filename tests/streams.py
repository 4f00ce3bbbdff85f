"""Made-up streams for strategy tests: long ones, and Avalanche's classic triples."""

from __future__ import annotations

import torch
from avalanche.benchmarks import nc_benchmark
from torch import Tensor
from torch.utils.data import Dataset

from avalanche_ham.benchmarks.class_incremental import class_incremental
from avalanche_ham.benchmarks.image_set import ImageSet


class Triples(Dataset):
    """Float images, labels and an index, as a user's own data set may give."""

    def __init__(self, per_class: int, n_classes: int = 4) -> None:
        generator = torch.Generator().manual_seed(per_class)
        self.targets = torch.arange(n_classes).repeat_interleave(per_class).tolist()
        self.images = torch.rand(len(self.targets), 3, 16, 16, generator=generator)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.images[index], self.targets[index], index


def classic(n_tasks: int = 2):
    """Four classes in an Avalanche benchmark of the classic kind; batches are triples."""
    return nc_benchmark(Triples(6), Triples(3), n_experiences=n_tasks, task_labels=False, seed=1)


def noise_images(per_class: int, n_classes: int) -> ImageSet:
    """Images of noise."""
    targets = torch.arange(n_classes).repeat_interleave(per_class).tolist()
    generator = torch.Generator().manual_seed(per_class)
    shape = (len(targets), 3, 8, 8)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    names = [str(c) for c in range(n_classes)]
    return ImageSet(pixels, targets=targets, classes=names)


def many_tasks(n_tasks: int = 100):
    """Two classes of noise a task, two images a class to train on and one to test on."""
    n_classes = 2 * n_tasks
    train, test = noise_images(2, n_classes), noise_images(1, n_classes)
    return class_incremental(train, test, n_tasks=n_tasks, seed=0, name="noise")


def logits(strategy, seed: int = 0) -> Tensor:
    """Predictions on eight fixed images, under the weights that evaluation uses."""
    generator = torch.Generator().manual_seed(seed)
    shape = (8, 3, 8, 8)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    strategy.model.eval()
    with torch.no_grad(), strategy.evaluation_weights():
        return strategy.model(images)
