"""ImageNet-R: 30,000 renditions (paintings, toys, tattoos ...) of 200 classes of ImageNet."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from avalanche_ham.benchmarks._image_cache import cached_sets
from avalanche_ham.benchmarks._image_files import ImageFiles, scan_classes
from avalanche_ham.benchmarks.class_incremental import (
    Benchmark,
    Split,
    class_incremental,
)
from avalanche_ham.benchmarks.image_folder import named_folder, open_folder
from avalanche_ham.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["imagenet_r"]

ORIGINAL = "imagenet-r"
TRAINED, SPLIT_SEED = 0.8, 42


def imagenet_r(
    *, data_root: str | PathLike[str], size: int = 224, **split: Unpack[Split]
) -> Benchmark:
    """Split ImageNet-R into tasks.

    It is published without training and test images. The field draws 80 % of all images, as
    DualPrompt (Wang et al., ECCV 2022) introduced and its PyTorch port does: ``random_split`` of
    the sorted images into ``int(0.8 n)`` and the rest. Here the draw has a seed of its own, 42,
    so that no seed of a run trains on another one's test images. Published lists differ from it;
    they are used by laying the images out in ``train`` and ``test``.

    Args:
        data_root: folder that holds the image folder ``imagenet_r`` or ``imagenet-r`` (``train``
            and ``test``), or else ``imagenet-r/<class>/*`` as it is distributed.
        size: side of the decoded squares in pixels, at least 1.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        DataError: if the images are missing or damaged.
        OptionError: as ``class_incremental``.
    """
    root = Path(data_root).expanduser()
    split_up = named_folder(root, "imagenet_r")
    if split_up is not None:
        train, test = open_folder(split_up, size=size)
    elif (root / ORIGINAL).is_dir():
        train, test = cached_sets(*_drawn(scan_classes(root / ORIGINAL)), size=size)
    else:
        raise DataError(
            f"data_root has no ImageNet-R: {root} must hold imagenet_r/{{train,test}}/<class>/* "
            f"or {ORIGINAL}/<class>/*"
        )
    return class_incremental(train, test, name="imagenet_r", **split)


def _drawn(files: ImageFiles) -> tuple[ImageFiles, ImageFiles]:
    """Draw the training images, the rest are test images; each part in sorted order."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    order = torch.randperm(len(files.names), generator=generator).tolist()
    count = int(TRAINED * len(order))
    train, test = (
        files._replace(
            names=[files.names[row] for row in rows], targets=[files.targets[row] for row in rows]
        )
        for rows in (sorted(order[:count]), sorted(order[count:]))
    )
    return train, test
