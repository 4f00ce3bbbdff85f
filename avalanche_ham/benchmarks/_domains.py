"""Domain-incremental streams: the same classes in every task, from another domain each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    as_classification_dataset,
    concat_datasets,
)

from avalanche_ham.benchmarks._selection import Selection, select_images
from avalanche_ham.benchmarks.benchmark import Benchmark
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, OptionError
from avalanche_ham.seeding import generator


def domain_incremental(
    sets: Mapping[str, tuple[ImageSet, ImageSet]],
    *,
    n_tasks: int,
    seed: int,
    name: str,
    **limits: Any,
) -> Benchmark:
    """Make each domain a task; the seed draws their order.

    Args:
        sets: domain -> its training and test images, of the same classes everywhere.
        n_tasks: the number of domains, or 1 for all domains at once.
        seed: seed of the order of domains, image subsets and held-out images.
        name: name of the data set.
        limits: ``train_per_class``, ``test_per_class`` and ``holdout`` of ``class_incremental``.

    Raises:
        OptionError: if an option is outside its range.
        DataError: if a domain has other classes than the first, or a class has no images.
    """
    if n_tasks not in (1, len(sets)):
        raise OptionError("n_tasks", f"1 or {len(sets)} (the number of domains)", n_tasks)
    names = sorted(sets)
    order = torch.randperm(len(names), generator=generator(seed, "domain order")).tolist()
    domains = [names[index] for index in order]
    classes = sets[names[0]][0].classes
    chosen: dict[str, Selection] = {}
    streams: dict[str, list[AvalancheDataset]] = {"train": [], "test": []}
    for domain in domains:
        if any(part.classes != classes for part in sets[domain]):
            raise DataError(f"{domain} of {name} has other classes than {names[0]}")
        for part, found in select_images(*sets[domain], seed=seed, **limits).items():
            chosen[f"{domain}/{part}"] = found
            whole = as_classification_dataset(found.images)
            streams[part].append(whole.subset(sorted(itertools.chain(*found.rows))))
    if n_tasks == 1:
        streams = {part: [concat_datasets(datasets)] for part, datasets in streams.items()}
        domains = ["+".join(names)]
    scenario = with_classes_timeline(benchmark_from_datasets(**streams))
    return Benchmark(
        scenario.streams.values(),
        name=name,
        class_names=classes,
        tasks=[range(len(classes))] * n_tasks,
        chosen=chosen,
        domains=domains,
    )
