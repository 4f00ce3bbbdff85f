"""The data sets that torchvision reads, downloads and splits into training and test images."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torchvision.datasets

from avalanche_ham.benchmarks._download import DOWNLOAD_ERRORS
from avalanche_ham.benchmarks._image_cache import cached_sets
from avalanche_ham.benchmarks._image_files import ImageFiles
from avalanche_ham.benchmarks.class_incremental import (
    Benchmark,
    Split,
    class_incremental,
)
from avalanche_ham.benchmarks.image_folder import named_folder, open_folder
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["SOURCES", "arrays", "photographs"]


class Source(NamedTuple):
    """A data set of torchvision: its class, its parts, and where its files lie."""

    dataset: str
    train: dict[str, Any]
    test: dict[str, Any]
    files: str  # below the data root
    root: str = "."  # what torchvision takes as root, below the data root


SPLIT = ({"split": "train"}, {"split": "test"})
SOURCES = {
    "cifar10": Source("CIFAR10", {"train": True}, {"train": False}, "cifar-10-batches-py"),
    "cifar100": Source("CIFAR100", {"train": True}, {"train": False}, "cifar-100-python"),
    "svhn": Source("SVHN", *SPLIT, "svhn", root="svhn"),
    "gtsrb": Source("GTSRB", *SPLIT, "gtsrb"),
    "flowers102": Source("Flowers102", *SPLIT, "flowers-102"),
    "food101": Source("Food101", *SPLIT, "food-101"),
    "oxford_pets": Source(
        "OxfordIIITPet", {"split": "trainval"}, {"split": "test"}, "oxford-iiit-pet"
    ),
}


def arrays(
    *,
    name: str,
    data_root: str | PathLike[str],
    download: bool = False,
    **split: Unpack[Split],
) -> Benchmark:
    """Split a data set of small images, which torchvision holds as one array, into tasks.

    Args:
        name: ``cifar10``, ``cifar100`` or ``svhn`` (without its extra images).
        data_root: folder that holds an image folder of that name (``train`` and ``test``), or
            else torchvision's files.
        download: fetch torchvision's files where there are none.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        DataError: if the images are missing or damaged.
        OptionError: as ``class_incremental``.
    """
    root = Path(data_root).expanduser()
    found = named_folder(root, name)
    if found is not None:
        train, test = open_folder(found)
    else:
        train, test = map(_array, _parts(name, root, download))
    return class_incremental(train, test, name=name, **split)


def photographs(
    *,
    name: str,
    data_root: str | PathLike[str],
    size: int = 224,
    download: bool = False,
    **split: Unpack[Split],
) -> Benchmark:
    """Split a data set of photographs, which torchvision holds as files, into tasks.

    Args:
        name: ``gtsrb``, ``flowers102``, ``food101`` or ``oxford_pets``.
        data_root: folder that holds an image folder of that name (``train`` and ``test``), or
            else torchvision's files.
        size: side of the decoded squares in pixels, at least 1.
        download: fetch torchvision's files where there are none.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        DataError: if the images are missing or damaged.
        OptionError: as ``class_incremental``.
    """
    root = Path(data_root).expanduser()
    found = named_folder(root, name)
    if found is not None:
        train, test = open_folder(found, size=size)
    else:
        folder = root / SOURCES[name].files
        files = [_listed(folder, part) for part in _parts(name, root, download)]
        train, test = cached_sets(*files, size=size)
    return class_incremental(train, test, name=name, **split)


def _parts(name: str, root: Path, download: bool) -> list[Any]:
    """Open both parts; torchvision checks the md5 of pickles before it loads them."""
    source = SOURCES[name]
    make = getattr(torchvision.datasets, source.dataset)
    try:
        return [
            make(root / source.root, download=download, **part)
            for part in (source.train, source.test)
        ]
    except DOWNLOAD_ERRORS as error:
        raise DataError(
            f"data_root has no {source.dataset}: {root} must hold {name}/{{train,test}}/<class>/* "
            f"or torchvision's {source.files} ({error})"
        ) from error


def _array(part: Any) -> ImageSet:
    images = part.data
    if images.shape[-1] == 3:  # CIFAR's channels come last, SVHN's before height and width
        images = images.transpose(0, 3, 1, 2)
    labels = part.targets if hasattr(part, "targets") else part.labels.tolist()
    classes = getattr(part, "classes", None) or [str(digit) for digit in range(10)]
    return ImageSet(np.ascontiguousarray(images), targets=labels, classes=classes)


def _listed(folder: Path, part: Any) -> ImageFiles:
    """List a part's files, which torchvision keeps under one of three names."""
    if hasattr(part, "_samples"):
        paths, labels = zip(*part._samples, strict=True)
    else:
        labels = part._labels
        paths = part._image_files if hasattr(part, "_image_files") else part._images
    classes = getattr(part, "classes", None) or [f"{i:05d}" for i in range(max(labels) + 1)]
    names = [os.path.relpath(path, folder) for path in paths]
    return ImageFiles(folder, names, list(labels), tuple(classes))
