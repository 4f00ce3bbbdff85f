"""Tiny-ImageNet: 200 classes of 500 training and 50 test images of 64 x 64 pixels."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche_ham.benchmarks._download import fetch_folder
from avalanche_ham.benchmarks._image_cache import cached_sets
from avalanche_ham.benchmarks._image_files import ImageFiles, scan_classes
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

__all__ = ["tiny_imagenet"]

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
ORIGINAL = "tiny-imagenet-200"


def tiny_imagenet(
    *,
    data_root: str | PathLike[str],
    download: bool = False,
    **split: Unpack[Split],
) -> Benchmark:
    """Split Tiny-ImageNet into tasks; its validation images are the test images.

    Args:
        data_root: folder that holds the image folder ``tiny_imagenet`` or ``tiny-imagenet``
            (``train`` and ``test``), or else ``tiny-imagenet-200`` as it is distributed.
        download: fetch the original where there is none.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        DataError: if the images are missing or damaged.
        OptionError: as ``class_incremental``.
    """
    root = Path(data_root).expanduser()
    folder = named_folder(root, "tiny_imagenet")
    if folder is not None:
        train, test = open_folder(folder)
    else:
        if download and not (root / ORIGINAL).is_dir():
            fetch_folder(URL, md5=MD5, root=root, folder=ORIGINAL)
        train, test = _open_original(root)
    return class_incremental(train, test, name="tiny_imagenet", **split)


def _open_original(root: Path) -> tuple[ImageSet, ImageSet]:
    folder = root / ORIGINAL
    if not folder.is_dir():
        raise DataError(
            f"data_root has no Tiny-ImageNet: {root} must hold tiny-imagenet/"
            f"{{train,test}}/<class>/* or {ORIGINAL} (download=True fetches it)"
        )
    train = scan_classes(folder / "train", images="images")
    return cached_sets(train, _validation(folder / "val", train.classes), size=64)


def _validation(folder: Path, classes: tuple[str, ...]) -> ImageFiles:
    """List ``val/images/*`` with their classes from ``val_annotations.txt``."""
    annotations = folder / "val_annotations.txt"
    ids = {name: target for target, name in enumerate(classes)}
    names, targets = [], []
    try:
        for line in annotations.read_text(encoding="utf-8-sig").splitlines():
            name, label = line.split("\t")[:2]  # image, class, box
            names.append(f"images/{name}")
            targets.append(ids[label])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{annotations} must name an image and a class on each line ({error})"
        ) from error
    return ImageFiles(folder, names, targets, classes)
