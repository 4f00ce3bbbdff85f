"""An image folder of one's own: files of easily told colours, ``train`` and ``test``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cat", "dodo")


def draw_photos(root: Path, *, per_class: int = 12, side: int = 16) -> Path:
    """Write ``root/{train,test}/<class>/<n>.png``; the test images are half as many."""
    random = np.random.default_rng(0)
    colours = random.integers(40, 215, (len(CLASSES), 3))
    for part, count in (("train", per_class), ("test", per_class // 2)):
        for name, colour in zip(CLASSES, colours):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                noise = random.integers(-25, 25, (side, side, 3))
                pixels = (colour + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return root
