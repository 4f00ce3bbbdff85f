"""Small image folders, and a cache of their own for every test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avalanche_ham.benchmarks.image_set import ImageSet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the image cache into the test's own folder; returns where entries lie."""
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Give a function that draws the pixels ``(H, W, 3)`` of image number ``seed``."""

    def draw(seed: int, width: int = 6, height: int = 6) -> np.ndarray:
        shape = (height, width, 3)
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return draw


@pytest.fixture
def write_folder(noise: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Give a function that writes ``root/<part>/<class>/<i>.png``, all different."""

    def write(
        root: Path,
        classes: Sequence[str] = ("ant", "bee", "cat"),
        counts: tuple[int, int] = (3, 2),
        size: tuple[int, int] = (6, 6),
    ) -> Path:
        seed = 0
        for part, count in zip(("train", "test"), counts):
            for name in classes:
                folder = root / part / name
                folder.mkdir(parents=True)
                for i in range(count):
                    seed += 1
                    pixels = noise(seed, *size)
                    Image.fromarray(pixels).save(folder / f"{i}.png")
        return root

    return write


@pytest.fixture
def make_images() -> Callable[..., ImageSet]:
    """Give a function for a set whose image number i is filled with the byte i."""

    def make(per_class: Sequence[int], classes: Sequence[str] | None = None) -> ImageSet:
        targets = [label for label, n in enumerate(per_class) for _ in range(n)]
        values = np.arange(len(targets)).astype(np.uint8).reshape(-1, 1, 1, 1)
        names = classes or [f"class {label:02}" for label in range(len(per_class))]
        images = np.broadcast_to(values, (len(targets), 3, 2, 2)).copy()
        return ImageSet(images, targets=targets, classes=names)

    return make
