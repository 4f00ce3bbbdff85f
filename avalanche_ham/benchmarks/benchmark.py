"""An Avalanche benchmark that knows its classes, its images and its domains."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from avalanche.benchmarks import CLScenario, CLStream

from avalanche_ham.benchmarks._image_digests import digest_of
from avalanche_ham.benchmarks._selection import Selection

__all__ = ["Benchmark"]


class Benchmark(CLScenario):
    """An Avalanche benchmark (``train_stream``, ``test_stream``) with its classes.

    Attributes:
        name: name of the data set.
        class_names: all class names; a label is a position in them.
        tasks: the labels of each task, in order of arrival.
        chosen: stream -> the images that are used; of a domain-incremental benchmark
            ``<domain>/<stream>``.
        domains: of a domain-incremental benchmark, the domain of each task.
    """

    def __init__(
        self,
        streams: Iterable[CLStream],
        *,
        name: str,
        class_names: Sequence[str],
        tasks: Sequence[Sequence[int]],
        chosen: Mapping[str, Selection],
        domains: Sequence[str] = (),
    ) -> None:
        super().__init__(list(streams))
        for stream in self.streams.values():
            stream.benchmark = self  # the evaluator's strict checks look here
        self.name = name
        self.class_names = tuple(class_names)
        self.tasks = tuple(tuple(task) for task in tasks)
        self.chosen = dict(chosen)
        self.domains = tuple(domains)

    @functools.cached_property
    def image_digests(self) -> dict[str, str]:
        """Name of ``chosen`` -> 32 hexadecimal digits that tell its images from others."""
        return {part: found.digest() for part, found in self.chosen.items()}

    def stream_digest(self, stream: str) -> str:
        """Tells the images of ``train`` or ``test`` from others; the order of domains counts."""
        found = [d for part, d in self.image_digests.items() if part.rpartition("/")[2] == stream]
        return found[0] if len(found) == 1 else digest_of("".join(found).encode())

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
        """The labels in order of arrival, each once."""
        return list(dict.fromkeys(label for task in self.tasks for label in task))

    @property
    def class_order_hash(self) -> str:
        """Twelve hexadecimal digits that tell which class names, or domain, come in which task."""
        names = [[self.class_names[label] for label in task] for task in self.tasks]
        if self.domains:
            names = [[domain, *task] for domain, task in zip(self.domains, names, strict=True)]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]
