"""An image folder as a benchmark: ``<root>/{train,test}/<class>/*``, or so in each domain."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avalanche_ham.benchmarks._domains import domain_incremental
from avalanche_ham.benchmarks._image_cache import cached_sets
from avalanche_ham.benchmarks._image_files import (
    as_text,
    check_same_classes,
    domains_in,
    scan_classes,
)
from avalanche_ham.benchmarks.class_incremental import (
    Benchmark,
    Split,
    class_incremental,
)
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import OptionError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["image_folder", "open_folder"]


def image_folder(
    *, data_root: str | PathLike[str], size: int = 224, **split: Unpack[Split]
) -> Benchmark:
    """Split the images of a folder into tasks; the benchmark bears the folder's name.

    A folder of domains, ``<root>/<domain>/{train,test}/<class>/*``, makes a domain-incremental
    stream: the same classes in every task, from another domain each, in an order that the seed
    draws.

    Images are turned as their EXIF orientation says; transparency shows white; 16-bit channels
    keep their upper eight bits; of several frames the first is taken.

    Args:
        data_root: the folder that holds ``train`` and ``test``, or the domains that do.
        size: side of the decoded squares in pixels, at least 1; smaller images of one size are
            kept as is, if those of all domains can be.
        split: ``n_tasks``, ``seed`` and the further options of ``class_incremental``.

    Raises:
        DataError: if a folder or class is missing or empty, train and test classes
            differ, or an image is corrupt or of 32-bit or floating point grey.
        OptionError: as ``class_incremental``.
    """
    root = Path(data_root).expanduser()
    domains = domains_in(root)
    if domains:
        for option in ("classes_per_task", "first_task", "classes", "class_order"):
            given: Any = split.pop(option, None)  # type: ignore[misc]
            if given is not None:
                allowed = "left out for a folder of domains, whose tasks have the same classes"
                raise OptionError(option, allowed, given)
        sets = {domain: open_folder(root / domain, size=size) for domain in domains}
        side = max(part.image_shape[-1] for pair in sets.values() for part in pair)
        for domain, pair in sets.items():  # a batch may hold images of several domains
            if any(part.image_shape[-1] != side for part in pair):
                sets[domain] = open_folder(root / domain, size=side, enlarge=True)
        return domain_incremental(sets, name=as_text(root.resolve().name), **split)  # type: ignore[misc]
    train, test = open_folder(root, size=size)
    return class_incremental(train, test, name=as_text(root.resolve().name), **split)


def named_folder(root: Path, name: str) -> Path | None:
    """Find the folder of a data set, spelled with underscores or hyphens; None if none is there."""
    spelled = (root / name, root / name.replace("_", "-"))
    return next((folder for folder in spelled if (folder / "train").is_dir()), None)


def open_folder(root: Path, *, size: int = 224, enlarge: bool = False) -> tuple[ImageSet, ImageSet]:
    """Open the training and test images of a folder through the image cache.

    Args:
        root: holds ``train`` and ``test``.
        size: side of the squares in pixels, at least 1.
        enlarge: bring smaller images of one size to ``size``, too.

    Raises:
        DataError: as ``image_folder``.
    """
    train, test = scan_classes(root / "train"), scan_classes(root / "test")
    check_same_classes(train, test)
    return cached_sets(train, test, size=size, enlarge=enlarge)
