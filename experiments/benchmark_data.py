"""Images a second of the input path (bytes, then resize on the device) and of the PIL path.

    python experiments/benchmark_data.py --json experiments/results/speed/data_96.json
    python experiments/benchmark_data.py --size 224 --json experiments/results/speed/data_224.json

Both give normalised batches from 32 px images on one core. ``loader`` is what that core still
does where another device resizes: fetching bytes.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from PIL import Image
from timing import interleave, options, ratio, report, show
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from avalanche_ham.backbones.preprocess import Preprocess
from avalanche_ham.benchmarks.class_incremental import class_incremental
from avalanche_ham.benchmarks.image_set import ImageSet

MEAN = STD = (0.5, 0.5, 0.5)


class PilImages(Dataset):
    """Images as PIL objects through torchvision's usual transforms, one by one."""

    def __init__(self, images: np.ndarray, size: int) -> None:
        self.images = images
        self.transform = Compose([Resize(size), ToTensor(), Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), index % 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=96)
    chosen = options(parser, batch=16, rounds=15)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (chosen.images, 32, 32, 3), dtype=np.uint8)
    targets = [i % 2 for i in range(chosen.images)]
    data = ImageSet(pixels.transpose(0, 3, 1, 2).copy(), targets=targets, classes=["a", "b"])
    stream = class_incremental(data, data, n_tasks=1, seed=0, name="made up").train_stream
    ours, pil = stream[0].dataset, PilImages(pixels, chosen.size)
    preprocess = Preprocess((chosen.size, chosen.size), MEAN, STD).to(chosen.device)

    def run(dataset: Dataset, *, transform: bool) -> None:
        for images, *_ in DataLoader(dataset, chosen.batch, shuffle=True):
            images = images.to(chosen.device)
            if transform:
                preprocess(images)

    seconds = interleave(
        {
            "PIL": lambda: run(pil, transform=False),
            "ours": lambda: run(ours, transform=True),
            "loader": lambda: run(ours, transform=False),
        },
        rounds=chosen.rounds,
    )
    results = {}
    for name, values in seconds.items():
        rate = chosen.images / sorted(values)[len(values) // 2]
        results[f"{name} images per second"] = rate
        print(f"{name}: {rate:.0f} images per second and core")
    results["PIL / ours"] = ratio(seconds, "PIL", "ours")
    results["PIL / loader"] = ratio(seconds, "PIL", "loader")
    show("our path, resize included / PIL path", results["PIL / ours"], "target 10")
    show("our path, resize elsewhere / PIL path", results["PIL / loader"], "target 10")
    report(chosen, results)


if __name__ == "__main__":
    main()
