"""The backbones that have a short name, and the image size that a name tells."""

from __future__ import annotations

import re

BACKBONES = {
    "embedded": "small hybrid ViT whose pre-trained weights ship with the package (offline)",
    "tiny": "random ViT of a few thousand weights, for tests",
}
RANDOM = ("tiny",)  # drawn anew from the seed
SIZES = {"embedded": 160, "tiny": 16}


def own_size(name: str) -> int | None:
    """Give the side in pixels of the images that a backbone was made for.

    timm's names end with it (``vit_base_patch16_224.augreg_in21k``); where one does not, timm
    is asked, which takes seconds. None if there is no such backbone.
    """
    if name in SIZES:
        return SIZES[name]
    architecture = name.partition(".")[0]
    found = re.search(r"_(\d{2,4})$", architecture)
    if found:
        return int(found[1])
    import timm

    config = timm.get_pretrained_cfg(name)
    return None if config is None else config.input_size[-1]
