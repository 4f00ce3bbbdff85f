"""What an image folder holds, before any image is opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from avalanche_ham.errors import DataError

__all__ = ["Box", "ImageFiles", "check_same_classes", "image_names", "scan_classes"]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of an image, in pixels."""


class ImageFiles(NamedTuple):
    """The image files of one part (train or test) of a data set."""

    folder: Path
    names: list[str]  # relative to the folder
    targets: list[int]  # one class id per name
    classes: tuple[str, ...]
    boxes: list[Box] | None = None  # one per name, where images are cropped first


def image_names(folder: Path) -> list[str]:
    """List the image files in a folder, sorted; hidden and other files do not count."""
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
    )


def scan_classes(folder: Path, *, images: str = "") -> ImageFiles:
    """List ``folder/<class>/<image>``; class ids follow the sorted class names.

    Args:
        images: a folder between class and image, as in the original Tiny-ImageNet.

    Raises:
        DataError: if the folder is missing, has no classes, or a class has no images.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; it must hold <class>/<image>")
    classes = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if not classes:
        raise DataError(f"{folder} is empty; it must hold <class>/<image>")
    names: list[str] = []
    targets: list[int] = []
    for target, name in enumerate(classes):
        inside = Path(name, images)
        found = image_names(folder / inside) if (folder / inside).is_dir() else []
        if not found:
            raise DataError(f"the class {folder / name} has no images ({_allowed()})")
        names += [str(inside / image) for image in found]
        targets += [target] * len(found)
    return ImageFiles(folder, names, targets, tuple(classes))


def check_same_classes(train: ImageFiles, test: ImageFiles) -> None:
    """Raise DataError unless both parts have the same classes."""
    alone = sorted(set(train.classes) ^ set(test.classes))
    if alone:
        few = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
        raise DataError(
            f"{train.folder} and {test.folder} must hold the same classes, "
            f"but {few} {'is' if len(alone) == 1 else 'are'} in one only"
        )


def _allowed() -> str:
    return "files ending in " + ", ".join(SUFFIXES)
