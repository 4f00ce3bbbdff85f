"""The benchmarks by name. Listing them imports neither Avalanche nor torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from avalanche_ham.errors import UnknownNameError

if TYPE_CHECKING:
    from avalanche_ham.benchmarks.class_incremental import Benchmark

__all__ = ["BENCHMARKS", "BenchmarkEntry", "create_benchmark"]


class BenchmarkEntry(NamedTuple):
    """One line of the table: where the function is and what it gives."""

    function: str  # "module:function"
    n_classes: int | None  # None where the data decide
    summary: str
    downloads: bool = True  # whether its function can fetch the data


_HERE = "avalanche_ham.benchmarks"

BENCHMARKS = {
    "digits": BenchmarkEntry(
        f"{_HERE}.digits:digits", 10, "scikit-learn's digits, 8 px, no download", False
    ),
    "cifar100": BenchmarkEntry(f"{_HERE}.cifar100:cifar100", 100, "CIFAR-100, 32 px"),
    "tiny_imagenet": BenchmarkEntry(
        f"{_HERE}.tiny_imagenet:tiny_imagenet", 200, "Tiny-ImageNet, 64 px"
    ),
    "cub200": BenchmarkEntry(f"{_HERE}.cub200:cub200", 200, "CUB-200-2011, bird photographs"),
    "image_folder": BenchmarkEntry(
        f"{_HERE}.image_folder:image_folder", None, "train/<class>/*, test/<class>/*", False
    ),
}


def create_benchmark(name: str, *, data_root: str | PathLike[str], **options: Any) -> Benchmark:
    """Create a benchmark by its name.

    Args:
        name: a name from ``BENCHMARKS``.
        data_root: folder that holds the data sets; for ``image_folder`` the folder
            itself.
        options: those of the benchmark's function, at least ``n_tasks`` and ``seed``.

    Raises:
        UnknownNameError: if there is no such benchmark; the message names the nearest.
        DataError: if the data are missing or damaged.
        OptionError: if an option is outside its range.
    """
    if name not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, BENCHMARKS)
    module, _, function = BENCHMARKS[name].function.partition(":")
    make: Callable[..., Benchmark] = getattr(importlib.import_module(module), function)
    return make(data_root=data_root, **options)
