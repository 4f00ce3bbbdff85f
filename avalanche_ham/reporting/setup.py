"""What the rows of a table have in common: data sets, lengths, seeds, preset, heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avalanche_ham.benchmarks._image_files import domains_in
from avalanche_ham.benchmarks.registry import BENCHMARKS, entry_of, is_there
from avalanche_ham.errors import OptionError, UnknownNameError, check_whole
from avalanche_ham.heads.registry import split_heads
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.identity import Identity
from avalanche_ham.runs.options import benchmark_options, readout_options
from avalanche_ham.runs.presets import preset_values
from avalanche_ham.runs.settings import defaults, idle_options
from avalanche_ham.strategies.registry import METHODS, get_method


@dataclass(frozen=True)
class Setup:
    """The choices that hold for a whole table or figure.

    Attributes:
        benchmarks: names; None takes the table's own.
        tasks: lengths of the streams; None takes the table's own.
        seeds, heads: one run per seed and head.
        methods: names; None takes the table's own.
        preset, backbone, image_size, weights: as in ``RunConfig``.
        options: hyper-parameters for every method that has them.
        method_options: method -> hyper-parameters.
        data_root, download: where the data are, or that they may be fetched.
        known: data sets that have records.
        records: what there are records of, as a table asks for it (``Identity.asked``).
    """

    benchmarks: tuple[str, ...] | None = None
    tasks: tuple[int, ...] | None = None
    seeds: tuple[int, ...] = (1, 2, 3)
    heads: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    preset: str = "cpu"
    backbone: str | None = None
    image_size: int | None = None
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    method_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    data_root: str = "~/.cache/avalanche_ham"
    download: bool = False
    known: frozenset[str] = frozenset()
    records: frozenset[Identity] = frozenset()

    def __post_init__(self) -> None:
        """Check every name and number before anything runs.

        Raises:
            UnknownNameError, OptionError: naming the option, what is allowed and given.
        """
        for name in self.benchmarks or ():
            self._check_benchmark(name)
        if self.heads is not None:
            split_heads(",".join(self.heads))
        for name in (*(self.methods or ()), *self.method_options):
            get_method(name)
        preset_values(self.preset, "digits")
        for count in self.tasks or ():
            check_whole("tasks", count, 1, 10_000)
        for seed in self.seeds:
            check_whole("seeds", seed, 0, 2**31)
        if not self.seeds:
            raise OptionError("seeds", "at least one number", self.seeds)
        if self.options:
            of_data = map(benchmark_options, (*BENCHMARKS, "+"))  # the last: of any mixture
            known = set(readout_options()).union(*of_data, *map(defaults, METHODS))
            for name in self.options:
                if name not in known:
                    raise UnknownNameError("option", name, known)

    def _check_benchmark(self, name: str) -> None:
        """Refuse a data set, or a part of a mixture, that is in no table, record or folder."""
        known = {*BENCHMARKS, *self.known}
        for part in [name] if name in known else name.split("+"):
            if part not in known and not is_there(part, self.data_root):
                raise UnknownNameError("benchmark", part, known)

    def runs(
        self, method: str, *, benchmark: str, n_tasks: int, head: str, **factor: Any
    ) -> tuple[RunConfig, ...]:
        """Give one run per seed; ``factor`` is what the table varies and wins."""
        known = {*defaults(method), *benchmark_options(benchmark), *readout_options(head)}
        common = {k: v for k, v in self.options.items() if k in known}
        own = {**common, **self.method_options.get(method, {}), **factor}
        idle = idle_options(method, own)
        return tuple(
            RunConfig(
                method=method,
                benchmark=benchmark,
                n_tasks=n_tasks,
                seed=seed,
                head=head,
                preset=self.preset,
                backbone=self.backbone,
                image_size=self.image_size,
                weights=self.weights,
                options={k: v for k, v in own.items() if k not in idle},
            )
            for seed in self.seeds
        )

    def lengths(
        self, benchmark: str, wanted: Sequence[int] | Callable[[str], Sequence[int]]
    ) -> tuple[int, ...]:
        """The lengths asked for, or the table's own, cut where a task would get but one class.

        Of a folder of domains the data decide: a task is a domain.
        """
        if self.tasks is not None:
            return self.tasks
        if domains := self._n_domains(benchmark):
            return (domains,)
        if callable(wanted):
            return tuple(wanted(benchmark))
        classes = entry_of(benchmark).n_classes
        most = max(1, classes // 2) if classes else max(wanted)
        return tuple(dict.fromkeys(min(n, most) for n in wanted))

    def allows(self, benchmark: str, n_tasks: int) -> bool:
        """Whether a stream can have so many tasks: of a folder of domains, one each."""
        return self._n_domains(benchmark) in (0, n_tasks)

    def _n_domains(self, benchmark: str) -> int:
        """Count the domains of an image folder; 0 if it has none, or is not there."""
        if benchmark in BENCHMARKS or "+" in benchmark:
            return 0
        return len(domains_in(Path(self.data_root).expanduser() / benchmark))

    def chosen(self, *names: str) -> tuple[str, ...]:
        """The methods of a table that exist and, if some were named, were asked for."""
        wanted = names if self.methods is None else self.methods
        return tuple(n for n in names if n in METHODS and n in wanted) + tuple(
            n for n in self.methods or () if n not in names
        )

    def has_data(self, benchmark: str) -> bool:
        """Whether a data set, or each part of a mixture, is there or may be downloaded."""
        if "+" in benchmark:
            return all(map(self.has_data, benchmark.split("+")))
        known = BENCHMARKS.get(benchmark)
        return is_there(benchmark, self.data_root) or bool(
            self.download and known is not None and known.downloads
        )
