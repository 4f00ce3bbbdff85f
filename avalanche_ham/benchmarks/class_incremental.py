"""Class-incremental benchmarks: the classes come in a seeded order, some per task.

Avalanche's own generator drops the classes that do not divide evenly and seeds the
global generator. Here every class is kept and no global random state is touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

import torch
from avalanche.benchmarks import (
    CLScenario,
    CLStream,
    benchmark_from_datasets,
    with_classes_timeline,
)
from avalanche.benchmarks.utils import AvalancheDataset, as_classification_dataset

from avalanche_ham.benchmarks._image_digests import digest_of
from avalanche_ham.benchmarks._selection import Selection, select_images
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, OptionError, check_range
from avalanche_ham.seeding import generator

__all__ = ["Benchmark", "Split", "class_incremental", "task_sizes"]


class _SplitRequired(TypedDict):
    n_tasks: int
    seed: int


class Split(_SplitRequired, total=False):
    """How a data set becomes tasks: the options of ``class_incremental``."""

    classes: int | None
    classes_per_task: Sequence[int] | None
    train_per_class: int | None
    test_per_class: int | None
    holdout: float


class Benchmark(CLScenario):
    """An Avalanche benchmark (``train_stream``, ``test_stream``) with its classes.

    Attributes:
        name: name of the data set.
        class_names: all class names; a label is a position in them.
        tasks: the labels of each task, in order of arrival.
        image_digests: stream -> 32 hexadecimal digits that tell its images from others.
    """

    def __init__(
        self,
        streams: Iterable[CLStream],
        *,
        name: str,
        class_names: Sequence[str],
        tasks: Sequence[Sequence[int]],
        image_digests: Mapping[str, str],
    ) -> None:
        super().__init__(list(streams))
        for stream in self.streams.values():
            stream.benchmark = self  # the evaluator's strict checks look here
        self.name = name
        self.class_names = tuple(class_names)
        self.tasks = tuple(tuple(task) for task in tasks)
        self.image_digests = dict(image_digests)

    @property
    def images_digest(self) -> str:
        """Tells the images of all streams from others; the order of the classes does not count."""
        return f"sha256-{digest_of(repr(sorted(self.image_digests.items())).encode())}"

    @property
    def n_classes(self) -> int:
        """The number of classes of all tasks together."""
        return len(self.class_names)

    @property
    def class_order(self) -> list[int]:
        """The labels in order of arrival."""
        return [label for task in self.tasks for label in task]

    @property
    def class_order_hash(self) -> str:
        """Twelve hexadecimal digits that tell which class names come in which task."""
        names = [[self.class_names[label] for label in task] for task in self.tasks]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]


def class_incremental(
    train: ImageSet,
    test: ImageSet,
    *,
    n_tasks: int,
    seed: int,
    classes: int | None = None,
    classes_per_task: Sequence[int] | None = None,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    holdout: float = 0.0,
    name: str,
) -> Benchmark:
    """Split two image sets into tasks of classes that do not overlap.

    Batches are pairs ``(x, y)``: x uint8 ``(N, C, H, W)``, y the original class ids.
    The class order depends on the seed and the number of classes alone. Everything
    drawn is drawn per class, so a smaller subset is part of a larger one.

    Args:
        train: the training images.
        test: the test images, of the same classes.
        n_tasks: number of tasks, from 1 to the number of classes; where it does not
            divide the classes evenly, the first tasks have one more.
        seed: seed of class order, image subsets and held-out images.
        classes: number of classes, at least 1; the first ones of the class order, which is that
            of all classes. None takes all.
        classes_per_task: the number of classes of each task, at least 1, instead of an even
            split.
        train_per_class: largest number of training images of each class, at least 1; None takes
            all.
        test_per_class: largest number of test images (or held-out images) of each class, at
            least 1; None takes all.
        holdout: fraction of the training images of each class, in [0, 1), that is
            tested on instead of the test images and never trained on; 0 to test on the
            test images.
        name: name of the data set.

    Raises:
        OptionError: if an option is outside its range.
        DataError: if train and test classes differ or a class has no images.
    """
    if train.classes != test.classes:
        raise DataError(f"train and test classes of {name} differ")
    tasks = _draw_tasks(len(train.classes), n_tasks, seed, classes, classes_per_task)
    chosen = select_images(
        train,
        test,
        seed=seed,
        train_per_class=train_per_class,
        test_per_class=test_per_class,
        holdout=holdout,
    )
    streams = {part: _datasets(found, tasks) for part, found in chosen.items()}
    scenario = with_classes_timeline(benchmark_from_datasets(**streams))
    return Benchmark(
        scenario.streams.values(),
        name=name,
        class_names=train.classes,
        tasks=tasks,
        image_digests={part: found.digest() for part, found in chosen.items()},
    )


def task_sizes(n_classes: int, n_tasks: int) -> list[int]:
    """Divide classes evenly; the first tasks take one more where that leaves a rest.

    >>> task_sizes(10, 4)
    [3, 3, 2, 2]
    """
    smaller, more = divmod(n_classes, n_tasks)
    return [smaller + (task < more) for task in range(n_tasks)]


def _draw_tasks(
    total: int, n_tasks: int, seed: int, classes: int | None, sizes: Sequence[int] | None
) -> list[list[int]]:
    if classes is not None:
        check_range("classes", classes, 1, total)
    count = total if classes is None else classes
    if not 1 <= n_tasks <= count:
        allowed = f"at least 1 and at most {count} (the number of classes)"
        raise OptionError("n_tasks", allowed, n_tasks)
    sizes = task_sizes(count, n_tasks) if sizes is None else list(sizes)
    if len(sizes) != n_tasks or min(sizes) < 1 or sum(sizes) != count:
        allowed = f"{n_tasks} numbers of at least 1 that add up to {count}"
        raise OptionError("classes_per_task", allowed, sizes)
    order = torch.randperm(total, generator=generator(seed, "class order"))[:count]
    return [task.tolist() for task in torch.split(order, list(sizes))]


def _datasets(found: Selection, tasks: Sequence[Sequence[int]]) -> list[AvalancheDataset]:
    """Cut one Avalanche dataset per task; images keep their order in the data set."""
    whole = as_classification_dataset(found.images)
    return [
        whole.subset(sorted(row for label in task for row in found.rows[label])) for task in tasks
    ]
