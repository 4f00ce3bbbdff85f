"""Images held as bytes: the one form in which every benchmark keeps its pictures.

No transform runs here. Flips, crops, resizing and normalisation happen once per batch
on the device.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from avalanche_ham.arrays import StoredArray
from avalanche_ham.benchmarks._image_digests import digest_of
from avalanche_ham.errors import DataError, OptionError, check_sequence

__all__ = ["ImageSet"]


class ImageSet(Dataset[tuple[Tensor, int]]):
    """Give images and class ids one by one: ``(uint8 tensor (C, H, W), int)``.

    Each image is a copy, so that changing it in place cannot change the data. A pickled
    or copied set whose images lie in a file holds the file's path only and opens it
    again, which keeps the workers of a DataLoader small.

    Args:
        images: uint8 of shape ``(n, C, H, W)``, in memory or stored on disk, or the path of an
            ``.npy`` file that holds such an array; a file is never read as a whole.
        targets: the class id of each image, length ``n``, each at least 0 and below
            ``len(classes)``.
        classes: the class names; a class id is a position in them.
        digests: what each image is told from others by, length ``n``; None digests its bytes.

    Raises:
        DataError: if the images are not uint8 of four dimensions, if the file cannot be
            read, if there is not one target per image, or if a target has no class.
    """

    def __init__(
        self,
        images: np.ndarray | Tensor | StoredArray | Path,
        *,
        targets: Sequence[int],
        classes: Sequence[str],
        digests: Sequence[str] | None = None,
    ) -> None:
        self.path = images if isinstance(images, Path) else None
        self._images = _as_array(images)
        try:
            self.targets = [operator.index(t) for t in check_sequence("targets", targets)]
        except TypeError as error:
            raise OptionError("targets", "whole numbers", targets) from error
        self.classes = tuple(classes)
        self._digests = digests
        self._check()

    def _check(self) -> None:
        if self._images.dtype != np.uint8 or self._images.ndim != 4:
            raise DataError(
                "images must be uint8 of shape (n, C, H, W), "
                f"but got {self._images.dtype} of shape {self._images.shape}"
            )
        if len(self.targets) != len(self._images):
            raise DataError(
                "there must be one target per image, but got "
                f"{len(self.targets)} targets for {len(self._images)} images"
            )
        if self.targets and not (min(self.targets) >= 0 and max(self.targets) < len(self.classes)):
            raise DataError(
                f"targets must be below the number of classes ({len(self.classes)}), "
                f"but range from {min(self.targets)} to {max(self.targets)}"
            )

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape ``(C, H, W)`` that all images share."""
        return self._images.shape[1:]

    def digest(self, index: int) -> str:
        """Give 32 hexadecimal digits that tell an image's content from another's."""
        if self._digests is not None:
            return self._digests[index]
        return digest_of(np.ascontiguousarray(self._images[index]).data)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self._images[index].copy()), self.targets[index]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.path is not None:
            del state["_images"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.path is not None:
            self._images = _as_array(self.path)


def _as_array(images: np.ndarray | Tensor | StoredArray | Path) -> np.ndarray | StoredArray:
    if isinstance(images, Tensor):
        return images.numpy()
    if isinstance(images, Path):
        try:
            mapped = np.load(images, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{images} is not an array of images ({error})") from error
        return np.asarray(mapped)  # indexing a plain view is faster than np.memmap
    if not isinstance(images, (np.ndarray, StoredArray)):
        raise OptionError("images", "an array, a tensor or the path of an .npy file", images)
    return images
