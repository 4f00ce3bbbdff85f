"""Domain-incremental streams: the same classes in every task, from another domain each."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline
from avalanche.benchmarks.utils import AvalancheDataset, as_classification_dataset

from avalanche_ham.benchmarks._selection import Selection, select_images
from avalanche_ham.benchmarks.class_incremental import Benchmark
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, OptionError
from avalanche_ham.seeding import generator


def domains_in(root: Path) -> list[str]:
    """Name the folders ``<domain>`` of ``<root>/<domain>/train``, in order."""
    return sorted(path.parent.name for path in root.glob("*/train") if path.is_dir())


def domain_incremental(
    sets: Mapping[str, tuple[ImageSet, ImageSet]],
    *,
    n_tasks: int,
    seed: int,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    holdout: float = 0.0,
    name: str,
) -> Benchmark:
    """Make each domain a task; the seed draws their order.

    Args:
        sets: domain -> its training and test images, of the same classes everywhere.
        n_tasks: the number of domains, or 1 for all domains at once.
        seed, train_per_class, test_per_class, holdout: see ``class_incremental``.
        name: name of the data set.

    Raises:
        OptionError: if an option is outside its range.
        DataError: if a domain has other classes than the first, or a class has no images.
    """
    if n_tasks not in (1, len(sets)):
        raise OptionError("n_tasks", f"1 or {len(sets)} (the number of domains)", n_tasks)
    names = sorted(sets)
    order = torch.randperm(len(names), generator=generator(seed, "domain order")).tolist()
    classes = sets[names[0]][0].classes
    chosen: dict[str, dict[str, Selection]] = {}
    for domain in (names[index] for index in order):
        train, test = sets[domain]
        if train.classes != classes or test.classes != classes:
            raise DataError(f"{domain} of {name} has other classes than {names[0]}")
        chosen[domain] = select_images(
            train,
            test,
            seed=seed,
            train_per_class=train_per_class,
            test_per_class=test_per_class,
            holdout=holdout,
        )
    streams: dict[str, list[AvalancheDataset]] = {"train": [], "test": []}
    for part, datasets in streams.items():
        for found in chosen.values():
            whole = as_classification_dataset(found[part].images)
            datasets.append(whole.subset(sorted(row for rows in found[part].rows for row in rows)))
        if n_tasks == 1:
            streams[part] = [functools.reduce(lambda a, b: a.concat(b), datasets)]
    scenario = with_classes_timeline(benchmark_from_datasets(**streams))
    return Benchmark(
        scenario.streams.values(),
        name=name,
        class_names=classes,
        tasks=[range(len(classes))] * n_tasks,
        image_digests={
            f"{d}/{p}": s.digest() for d, found in chosen.items() for p, s in found.items()
        },
        domains=["+".join(sorted(chosen))] if n_tasks == 1 else list(chosen),
    )
