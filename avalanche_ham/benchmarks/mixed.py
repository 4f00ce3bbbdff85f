"""Several data sets as one stream of dissimilar tasks: ``cifar100+gtsrb43+cub100``."""

from __future__ import annotations

import bisect
import importlib
import inspect
import itertools
from collections.abc import Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset
from torchvision.transforms.v2.functional import resize

from avalanche_ham.benchmarks._image_files import domains_in
from avalanche_ham.benchmarks._selection import Selection
from avalanche_ham.benchmarks.benchmark import Benchmark
from avalanche_ham.benchmarks.class_incremental import from_selections, task_sizes
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.benchmarks.registry import (
    BENCHMARKS,
    create_benchmark,
    entry_of,
    file_name,
    is_there,
)
from avalanche_ham.errors import OptionError, check_whole
from avalanche_ham.seeding import generator

__all__ = ["mixed"]


def mixed(
    *,
    names: Sequence[str],
    data_root: str | PathLike[str],
    n_tasks: int,
    seed: int,
    size: int = 96,
    task_order: Literal["in_turn", "shuffled"] = "in_turn",
    classes: int | None = None,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    holdout: float = 0.0,
    download: bool = False,
) -> Benchmark:
    """Make each data set's classes tasks of their own; class names say which set they are of.

    The tasks of one data set resemble each other; dissimilar ones are what models are merged over
    in PAM (https://arxiv.org/abs/2506.03189, Sec. 4). Each set's classes are split evenly among its
    tasks: the other options of ``class_incremental`` are for one set, whose tasks they would count.

    Args:
        names: the data sets, at least two, each once.
        data_root: folder that holds them.
        n_tasks: number of tasks, shared evenly among the sets, at least one each; or 1, for all
            classes at once.
        seed: seed of class orders, subsets and a shuffled order of tasks.
        size: side in pixels, at least 1, to which all images are brought.
        task_order: one of ``in_turn`` (set after set), or ``shuffled`` (by the seed).
        classes: take at most so many classes of each set, at least 1, the first of its class
            order; None takes all.
        train_per_class: largest number of training images of each class, at least 1; None takes
            all.
        test_per_class: largest number of test images (or held-out images) of each class, at
            least 1; None takes all.
        holdout: fraction of the training images of each class, in [0, 1), that is tested on
            instead of the test images; 0 to test on the test images.
        download: fetch sets that are missing and can be fetched.

    Raises:
        OptionError: if an option is outside its range.
        DataError: as each data set's own function.
    """
    check_whole("size", size, 1)
    if classes is not None:
        check_whole("classes", classes, 1)
    if len(set(names)) != len(names):
        raise OptionError("benchmark", "data sets that differ, joined by +", "+".join(names))
    if n_tasks != 1 and n_tasks < len(names):
        raise OptionError("n_tasks", f"1 or at least {len(names)} (the number of sets)", n_tasks)
    for name in names:
        _check_no_domains(name, Path(data_root).expanduser())
    counts = task_sizes(n_tasks, len(names)) if n_tasks > 1 else [1] * len(names)
    common: dict[str, Any] = {
        "data_root": data_root,
        "seed": seed,
        "classes": classes,
        "train_per_class": train_per_class,
        "test_per_class": test_per_class,
        "holdout": holdout,
    }
    more: dict[str, Any] = {"size": size, "download": download}
    parts = []
    for name, count in zip(names, counts, strict=True):
        own = {key: value for key, value in more.items() if key in _arguments(name)}
        try:
            parts.append(_part(name, n_tasks=count, **common, **own))
        except OptionError as error:
            if error.option != "n_tasks":
                raise
            allowed = f"such that those of {name} ({count}) are {error.allowed}"
            raise OptionError("n_tasks", allowed, n_tasks) from error
    starts = [0, *itertools.accumulate(part.n_classes for part in parts)]
    tasks = [
        [start + label for label in task]
        for start, part in zip(starts, parts)
        for task in part.tasks
    ]
    if n_tasks == 1:
        tasks = [list(itertools.chain(*tasks))]
    if task_order == "shuffled":
        order = torch.randperm(len(tasks), generator=generator(seed, "task order")).tolist()
        tasks = [tasks[index] for index in order]
    chosen = {
        stream: _join([part.chosen[stream] for part in parts], names, size)
        for stream in ("train", "test")
    }
    return from_selections(chosen, tasks, name="+".join(names))


def _part(name: str, *, classes: int | None, **options: Any) -> Benchmark:
    """Open one data set, with all its classes if they are fewer than asked for."""
    try:
        return create_benchmark(name, classes=classes, **options)
    except OptionError as error:
        if error.option != "classes":
            raise
        return create_benchmark(name, classes=None, **options)


def _check_no_domains(name: str, data_root: Path) -> None:
    """Raise OptionError for a folder of domains, whose tasks are no classes of their own."""
    if entry_of(name) is BENCHMARKS["image_folder"] and is_there(name, data_root):
        folder = data_root if name in BENCHMARKS else data_root / file_name(name)
        if domains_in(folder):
            raise OptionError("benchmark", "joined of sets without domains", name)


def _arguments(name: str) -> Collection[str]:
    module, _, function = entry_of(name).function.partition(":")
    return inspect.signature(getattr(importlib.import_module(module), function)).parameters


class JoinedImages(ConcatDataset[tuple[Tensor, int]]):
    """Image sets behind one another, all of one size, with class ids that do not overlap.

    Args:
        sets: the image sets.
        names: of the sets, which stand before the names of their classes.
        size: side in pixels.
    """

    def __init__(self, sets: Sequence[ImageSet], names: Sequence[str], size: int) -> None:
        super().__init__(sets)
        self.image_shape = (3, size, size)
        self.classes = tuple(f"{n}/{c}" for n, part in zip(names, sets) for c in part.classes)
        offsets = [0, *itertools.accumulate(len(part.classes) for part in sets)]
        self.targets = [offset + t for offset, part in zip(offsets, sets) for t in part.targets]

    def digest(self, index: int) -> str:
        """Give 32 hexadecimal digits that tell an image's content from another's."""
        owner = bisect.bisect_right(self.cumulative_sizes, index)
        images: Any = self.datasets[owner]
        return images.digest(index - self.cumulative_sizes[owner] + len(images))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = super().__getitem__(index)[0].expand(3, -1, -1)
        if image.shape != self.image_shape:
            image = resize(image, list(self.image_shape[1:]), antialias=True)
        return image, self.targets[index]


def _join(chosen: Sequence[Selection], names: Sequence[str], size: int) -> Selection:
    joined = JoinedImages([selection.images for selection in chosen], names, size)
    starts = [0, *joined.cumulative_sizes]
    rows = [
        [start + row for row in of_class]
        for start, selection in zip(starts, chosen)
        for of_class in selection.rows
    ]
    return Selection(joined, rows)
