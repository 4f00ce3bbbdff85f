"""The benchmarks by name. Listing them imports neither Avalanche nor torch."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avalanche_ham.errors import UnknownNameError, check_path, check_text

if TYPE_CHECKING:
    from avalanche_ham.benchmarks.benchmark import Benchmark

__all__ = [
    "BENCHMARKS",
    "BenchmarkEntry",
    "create_benchmark",
    "entry_of",
    "is_image_folder",
    "is_there",
    "known_name",
    "title_of",
]


class BenchmarkEntry(NamedTuple):
    """One line of the table: where the function is and what it gives."""

    function: str  # "module:function"
    n_classes: int | None  # None where the data decide
    summary: str
    downloads: bool = True  # whether its function can fetch the data
    title: str = ""  # in tables; else its name
    folders: tuple[str, ...] | None = None  # where it may lie below the data root; None: nowhere
    several: bool = False  # whether its function reads several data sets and takes the name


_HERE = "avalanche_ham.benchmarks"

BENCHMARKS = {
    "digits": BenchmarkEntry(
        f"{_HERE}.digits:digits", 10, "scikit-learn's digits, 8 px, no download", False
    ),
    "cifar100": BenchmarkEntry(
        f"{_HERE}.torchvision_sets:arrays",
        100,
        "CIFAR-100, 32 px",
        title="CIFAR-100",
        folders=("cifar100", "cifar-100-python"),
        several=True,
    ),
    "cifar10": BenchmarkEntry(
        f"{_HERE}.torchvision_sets:arrays",
        10,
        "CIFAR-10, 32 px",
        title="CIFAR-10",
        folders=("cifar10", "cifar-10-batches-py"),
        several=True,
    ),
    "svhn": BenchmarkEntry(
        f"{_HERE}.torchvision_sets:arrays",
        10,
        "SVHN, house numbers, 32 px",
        title="SVHN",
        folders=("svhn",),
        several=True,
    ),
    "gtsrb": BenchmarkEntry(
        f"{_HERE}.torchvision_sets:photographs",
        43,
        "GTSRB, German traffic signs",
        title="GTSRB",
        folders=("gtsrb",),
        several=True,
    ),
    "flowers102": BenchmarkEntry(
        f"{_HERE}.torchvision_sets:photographs",
        102,
        "Oxford Flowers, 10 training images a class",
        title="Flowers-102",
        folders=("flowers102", "flowers-102"),
        several=True,
    ),
    "food101": BenchmarkEntry(
        f"{_HERE}.torchvision_sets:photographs",
        101,
        "Food-101, photographs of dishes",
        title="Food-101",
        folders=("food101", "food-101"),
        several=True,
    ),
    "oxford_pets": BenchmarkEntry(
        f"{_HERE}.torchvision_sets:photographs",
        37,
        "Oxford-IIIT Pets, cats and dogs",
        title="Oxford-Pets",
        folders=("oxford_pets", "oxford-pets", "oxford-iiit-pet"),
        several=True,
    ),
    "tiny_imagenet": BenchmarkEntry(
        f"{_HERE}.tiny_imagenet:tiny_imagenet",
        200,
        "Tiny-ImageNet, 64 px",
        title="Tiny-ImageNet",
        folders=("tiny_imagenet", "tiny-imagenet", "tiny-imagenet-200"),
    ),
    "cub200": BenchmarkEntry(
        f"{_HERE}.cub200:cub200",
        200,
        "CUB-200-2011, bird photographs",
        title="CUB-200",
        folders=("cub200", "CUB_200_2011"),
    ),
    "imagenet_r": BenchmarkEntry(
        f"{_HERE}.imagenet_r:imagenet_r",
        200,
        "ImageNet-R, renditions of ImageNet's classes",
        False,
        title="ImageNet-R",
        folders=("imagenet_r", "imagenet-r"),
    ),
    "image_folder": BenchmarkEntry(
        f"{_HERE}.image_folder:image_folder",
        None,
        "train/<class>/*, test/<class>/*, or so in each <domain>/; known by its name",
        False,
        folders=(".",),
    ),
}


MIXED = BenchmarkEntry(f"{_HERE}.mixed:mixed", None, "several as one stream, joined by +")


def entry_of(name: str) -> BenchmarkEntry:
    """Give a data set's entry; a name that is in no table is an image folder's."""
    return MIXED if "+" in name else BENCHMARKS.get(name, BENCHMARKS["image_folder"])


def known_name(name: str) -> str:
    """Give the name in ``BENCHMARKS`` of a data set that is called by its folder's.

    ``tiny-imagenet`` is ``tiny_imagenet``, so that its runs stand in one table; a name that is
    in none stays.
    """
    parts = ((part, part.replace("-", "_")) for part in name.split("+"))
    return "+".join(known if known in BENCHMARKS else given for given, known in parts)


def title_of(name: str) -> str:
    """Give a data set's name as tables show it; that of an image folder is the folder's."""
    if "+" in name:
        return " + ".join(map(title_of, name.split("+")))
    return BENCHMARKS[name].title or name if name in BENCHMARKS else name


def is_image_folder(root: Path) -> bool:
    """Whether a folder holds ``train``, or folders of domains that do."""
    try:
        return (root / "train").is_dir() or any(path.is_dir() for path in root.glob("*/train"))
    except ValueError:  # Python 3.13, where a name has a null character
        return False


def is_there(name: str, data_root: str | PathLike[str]) -> bool:
    """Whether a data set lies below a data root, or needs no files."""
    root = Path(data_root).expanduser()
    if "+" in name:
        return all(is_there(part, root) for part in name.split("+"))
    if name not in BENCHMARKS:
        return bool(name) and is_image_folder(root / file_name(name))
    folders = BENCHMARKS[name].folders
    return folders is None or any((root / folder).is_dir() for folder in folders)


def file_name(name: str) -> str:
    """Give the name under which the system finds a folder, in any locale."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def create_benchmark(name: str, *, data_root: str | PathLike[str], **options: Any) -> Benchmark:
    """Create a benchmark by its name.

    Args:
        name: a name from ``BENCHMARKS``, or of an image folder below ``data_root``, or several
            of them joined by ``+``, which make one stream.
        data_root: folder that holds the data sets; for ``image_folder`` the folder
            itself.
        options: those of the benchmark's function, at least ``n_tasks`` and ``seed``.

    Raises:
        UnknownNameError: if there is no such benchmark; the message names the nearest.
        DataError: if the data are missing or damaged.
        OptionError: if an option is outside its range.
    """
    check_text("name", name)
    data_root = check_path("data_root", data_root)
    if "+" in name:
        options["names"] = name.split("+")
    elif name not in BENCHMARKS:
        if not is_there(name, data_root):
            raise UnknownNameError("benchmark", name, BENCHMARKS)
        root = Path(data_root, file_name(name))
        return create_benchmark("image_folder", data_root=root, **options)
    elif BENCHMARKS[name].several:
        options["name"] = name
    module, _, function = entry_of(name).function.partition(":")
    make: Callable[..., Benchmark] = getattr(importlib.import_module(module), function)
    return make(data_root=data_root, **options)
