"""CIFAR-100: 100 classes of 500 training and 100 test images of 32 x 32 pixels."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torchvision.datasets import CIFAR100

from avalanche_ham.benchmarks._download import DOWNLOAD_ERRORS
from avalanche_ham.benchmarks.class_incremental import (
    Benchmark,
    Split,
    class_incremental,
)
from avalanche_ham.benchmarks.image_folder import open_folder
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["cifar100"]


def cifar100(
    *,
    data_root: str | PathLike[str],
    download: bool = False,
    **split: Unpack[Split],
) -> Benchmark:
    """Split CIFAR-100 into tasks.

    Args:
        data_root: folder that holds the image folder ``cifar100`` (``train`` and
            ``test``), or else torchvision's ``cifar-100-python``.
        download: fetch torchvision's files where there are none.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        DataError: if the images are missing or damaged.
        OptionError: as ``class_incremental``.
    """
    root = Path(data_root).expanduser()
    if (root / "cifar100").is_dir():
        train, test = open_folder(root / "cifar100")
    else:
        train, test = (_from_torchvision(root, part, download) for part in (True, False))
    return class_incremental(train, test, name="cifar100", **split)


def _from_torchvision(root: Path, train: bool, download: bool) -> ImageSet:
    """Read torchvision's files: pickles, whose md5 it checks before it loads them."""
    try:
        source = CIFAR100(root, train=train, download=download)
    except DOWNLOAD_ERRORS as error:
        raise DataError(
            f"data_root has no CIFAR-100: {root} must hold cifar100/{{train,test}}/"
            f"<class>/* or torchvision's cifar-100-python ({error})"
        ) from error
    images = np.ascontiguousarray(source.data.transpose(0, 3, 1, 2))  # (n, 3, 32, 32)
    return ImageSet(images, targets=source.targets, classes=source.classes)
