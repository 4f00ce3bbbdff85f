"""What an image folder holds, before any image is opened."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

from avalanche_ham.errors import DataError

__all__ = ["Box", "ImageFiles", "as_text", "check_same_classes", "image_names", "scan_classes"]

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
UNREAD = (".heic", ".heif", ".jp2", ".jxl")  # counted, so that decoding refuses them by name

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
    found = (entry.name for entry in _entries(folder))
    images = (name for name in found if name.lower().endswith(SUFFIXES + UNREAD))
    return sorted(images, key=lambda name: (unicodedata.normalize("NFC", name), name))


def scan_classes(folder: Path, *, images: str = "") -> ImageFiles:
    """List ``folder/<class>/<image>``; class ids follow the sorted class names.

    Names are sorted by their characters (``10`` before ``2``, ``Z`` before ``a``). They are read
    as UTF-8 whatever the locale, and composed (Unicode NFC): the same on every system.

    Args:
        images: a folder between class and image, as in the original Tiny-ImageNet.

    Raises:
        DataError: if the folder is missing or cannot be read, has no classes, two of them have
            one name, or a class has no images.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; it must hold <class>/<image>")
    folders: dict[str, str] = {}  # by class name
    for entry in _entries(folder):
        if entry.is_dir():
            name = _class_name(entry.name)
            if name in folders:
                raise DataError(
                    f"{folder} holds the class {name!r} twice, as {folders[name]!a} and as "
                    f"{entry.name!a}, which look the same; put them into one folder"
                )
            folders[name] = entry.name
    if not folders:
        raise DataError(f"{folder} is empty; it must hold <class>/<image>")
    classes = sorted(folders)
    names: list[str] = []
    targets: list[int] = []
    for target, name in enumerate(classes):
        inside = Path(folders[name], images)
        found = image_names(folder / inside) if (folder / inside).is_dir() else []
        if not found:
            raise DataError(f"the class {folder / folders[name]} has no images ({_allowed()})")
        names += [str(inside / image) for image in found]
        targets += [target] * len(found)
    return ImageFiles(folder, names, targets, tuple(classes))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List what lies in a folder, without hidden files."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({error.strerror})") from error


def as_text(name: str) -> str:
    """Read a file's name as UTF-8, where the locale would have it otherwise.

    Raises:
        DataError: if it is no UTF-8.
    """
    try:
        return os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"the name of the folder {name!a} is not UTF-8") from error


def _class_name(name: str) -> str:
    """Compose a name: some systems store an accent on its own."""
    return unicodedata.normalize("NFC", as_text(name))


def check_same_classes(train: ImageFiles, test: ImageFiles) -> None:
    """Raise DataError unless both parts have the same classes."""
    alone = sorted(set(train.classes) ^ set(test.classes))
    if alone:
        few = ", ".join(map(repr, alone[:3])) + (", ..." if len(alone) > 3 else "")
        raise DataError(
            f"{train.folder} and {test.folder} must hold the same classes, "
            f"but {few} {'is' if len(alone) == 1 else 'are'} in one only"
        )


def _allowed() -> str:
    return "files ending in " + ", ".join(SUFFIXES)


def domains_in(root: Path) -> list[str]:
    """Name the folders ``<domain>`` of ``<root>/<domain>/train``, in order; none of a data set."""
    if (root / "train").is_dir():
        return []
    return sorted(path.parent.name for path in root.glob("*/train") if path.is_dir())
