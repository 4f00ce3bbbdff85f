"""Class-incremental benchmarks: the classes come in a seeded order, some per task.

Avalanche's own generator drops the classes that do not divide evenly and seeds the
global generator. Here every class is kept and no global random state is touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TypedDict

import torch
from avalanche.benchmarks import (
    benchmark_from_datasets,
    with_classes_timeline,
)
from avalanche.benchmarks.utils import AvalancheDataset, as_classification_dataset

from avalanche_ham.benchmarks._selection import Selection, select_images
from avalanche_ham.benchmarks.benchmark import Benchmark
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, OptionError, check_sequence, check_whole
from avalanche_ham.seeding import generator

__all__ = ["Benchmark", "Split", "class_incremental", "from_selections", "task_sizes"]


class _SplitRequired(TypedDict):
    n_tasks: int
    seed: int


class Split(_SplitRequired, total=False):
    """How a data set becomes tasks: the options of ``class_incremental``."""

    classes_per_task: Sequence[int] | None
    first_task: int | None
    classes: int | None
    class_order: Sequence[int | str] | None
    train_per_class: int | None
    test_per_class: int | None
    holdout: float


def class_incremental(
    train: ImageSet,
    test: ImageSet,
    *,
    n_tasks: int,
    seed: int,
    classes_per_task: Sequence[int] | None = None,
    first_task: int | None = None,
    classes: int | None = None,
    class_order: Sequence[int | str] | None = None,
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
        classes_per_task: the number of classes of each task, at least 1, instead of an even
            split.
        first_task: the number of classes of the first task, at least 1; the others share the rest
            evenly. None is an even split.
        classes: take only so many classes, at least 1, the first of the class order; None takes
            all.
        class_order: the labels (positions in the sorted class names), or the names themselves,
            in order of arrival, each once; None draws an order. On the command line it may be a
            file of them, apart by lines or commas.
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
    order = _order(train.classes, seed, class_order)
    if classes is not None:
        check_whole("classes", classes)
        if not 1 <= classes <= len(order):
            allowed = f"at least 1 and at most {len(order)} (the number of classes of {name})"
            raise OptionError("classes", allowed, classes)
        order = order[:classes]
    tasks = _cut(order, n_tasks, classes_per_task, first_task)
    chosen = select_images(
        train,
        test,
        seed=seed,
        train_per_class=train_per_class,
        test_per_class=test_per_class,
        holdout=holdout,
    )
    chosen = {part: found.of_classes(order) for part, found in chosen.items()}
    return from_selections(chosen, tasks, name=name)


def from_selections(
    chosen: Mapping[str, Selection], tasks: Sequence[Sequence[int]], *, name: str
) -> Benchmark:
    """Make tasks of new classes from the images of each stream.

    Args:
        chosen: stream (``train``, ``test``) -> its images; all of the same classes.
        tasks: the labels of each task.
        name: name of the data set.
    """
    streams = {part: _datasets(found, tasks) for part, found in chosen.items()}
    scenario = with_classes_timeline(benchmark_from_datasets(**streams))
    return Benchmark(
        scenario.streams.values(),
        name=name,
        class_names=chosen["train"].images.classes,
        tasks=tasks,
        chosen=chosen,
    )


def task_sizes(n_classes: int, n_tasks: int) -> list[int]:
    """Divide classes evenly; the first tasks take one more where that leaves a rest.

    >>> task_sizes(10, 4)
    [3, 3, 2, 2]
    """
    smaller, more = divmod(n_classes, n_tasks)
    return [smaller + (task < more) for task in range(n_tasks)]


def _order(classes: Sequence[str], seed: int, given: Sequence[int | str] | None) -> list[int]:
    if given is None:
        return torch.randperm(len(classes), generator=generator(seed, "class order")).tolist()
    known = {name: label for label, name in enumerate(classes)}
    given = check_sequence("class_order", given)
    order = [known.get(x, -1) if isinstance(x, str) else x for x in given]
    if set(order) != set(range(len(classes))) or len(order) != len(classes):
        allowed = f"each label from 0 to {len(classes) - 1}, or each class name, once"
        raise OptionError("class_order", allowed, list(given))
    return order


def _cut(
    order: Sequence[int], n_tasks: int, sizes: Sequence[int] | None, first: int | None
) -> list[list[int]]:
    n = len(order)
    check_whole("n_tasks", n_tasks)
    if not 1 <= n_tasks <= n:
        allowed = f"at least 1 and at most {n} (the number of classes)"
        raise OptionError("n_tasks", allowed, n_tasks)
    if first is not None:
        if sizes is not None:
            raise OptionError("first_task", "given without classes_per_task", first)
        rest = n - n_tasks + 1 if n_tasks > 1 else n
        check_whole("first_task", first, 1 if n_tasks > 1 else n, rest)
        sizes = [first, *(task_sizes(n - first, n_tasks - 1) if n_tasks > 1 else ())]
    sizes = task_sizes(n, n_tasks) if sizes is None else check_sequence("classes_per_task", sizes)
    for size in sizes:
        check_whole("classes_per_task", size, 1)
    if len(sizes) != n_tasks or min(sizes) < 1 or sum(sizes) != n:
        allowed = f"{n_tasks} numbers of at least 1 that add up to {n}"
        raise OptionError("classes_per_task", allowed, sizes)
    ends = list(itertools.accumulate(sizes))
    return [list(order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def _datasets(found: Selection, tasks: Sequence[Sequence[int]]) -> list[AvalancheDataset]:
    """Cut one Avalanche dataset per task; images keep their order in the data set."""
    whole = as_classification_dataset(found.images)
    return [
        whole.subset(sorted(row for label in task for row in found.rows[label])) for task in tasks
    ]
