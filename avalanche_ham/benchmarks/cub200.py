"""CUB-200-2011: 200 bird species, 5,994 training and 5,794 test photographs."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche_ham.benchmarks._download import fetch_folder
from avalanche_ham.benchmarks._image_cache import cached_sets
from avalanche_ham.benchmarks._image_files import Box, ImageFiles
from avalanche_ham.benchmarks.class_incremental import (
    Benchmark,
    Split,
    class_incremental,
)
from avalanche_ham.benchmarks.image_folder import open_folder
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError, OptionError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["cub200"]

URL = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
MD5 = "97eceeb196236b17998738112f37df78"
ORIGINAL = "CUB_200_2011"


def cub200(
    *,
    data_root: str | PathLike[str],
    bounding_box: bool = False,
    size: int = 224,
    download: bool = False,
    **split: Unpack[Split],
) -> Benchmark:
    """Split CUB-200-2011 into tasks.

    Args:
        data_root: folder that holds the image folder ``cub200`` (``train`` and
            ``test``), or else ``CUB_200_2011`` as it is distributed.
        bounding_box: crop each photograph to the bird first (original files only).
        size: side of the decoded squares in pixels, at least 1.
        download: fetch the original where there is none.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        DataError: if the images are missing or damaged.
        OptionError: as ``class_incremental``, or for bounding boxes of an image folder.
    """
    root = Path(data_root).expanduser()
    if (root / "cub200").is_dir():
        if bounding_box:
            raise OptionError("bounding_box", "False for an image folder", bounding_box)
        train, test = open_folder(root / "cub200", size=size)
    else:
        if download and not (root / ORIGINAL).is_dir():
            fetch_folder(URL, md5=MD5, root=root, folder=ORIGINAL)
        train, test = _open_original(root, bounding_box, size)
    return class_incremental(train, test, name="cub200", **split)


def _open_original(root: Path, bounding_box: bool, size: int) -> tuple[ImageSet, ImageSet]:
    folder = root / ORIGINAL
    if not folder.is_dir():
        raise DataError(
            f"data_root has no CUB-200-2011: {root} must hold cub200/{{train,test}}/"
            f"<class>/* or {ORIGINAL} (download=True fetches it)"
        )
    try:
        train, test = (_listed(folder, part, bounding_box) for part in ("1", "0"))
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise DataError(f"the lists in {folder} do not fit ({error})") from error
    return cached_sets(train, test, size=size)


def _listed(folder: Path, part: str, bounding_box: bool) -> ImageFiles:
    """List the images marked ``part`` in ``train_test_split.txt`` ("1": training)."""
    names, is_train = _table(folder, "images"), _table(folder, "train_test_split")
    classes = sorted({name.partition("/")[0] for name in names.values()})
    ids = {name: target for target, name in enumerate(classes)}
    keys = [key for key in names if is_train[key] == part]
    chosen = [names[key] for key in keys]
    boxes = None
    if bounding_box:
        given = _table(folder, "bounding_boxes")
        boxes = [_box(given[key]) for key in keys]
    targets = [ids[name.partition("/")[0]] for name in chosen]
    return ImageFiles(folder / "images", chosen, targets, tuple(classes), boxes)


def _table(folder: Path, name: str) -> dict[str, str]:
    """Read lines of the form ``<image number> <value>``."""
    lines = (folder / f"{name}.txt").read_text(encoding="utf-8-sig").splitlines()
    pairs = (line.partition(" ") for line in lines)
    return {key: value.strip() for key, _, value in pairs}


def _box(text: str) -> Box:
    left, top, width, height = (round(float(number)) for number in text.split())
    return left, top, left + width, top + height
