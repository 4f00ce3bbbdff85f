"""Images a second of the input path (bytes, then on-device resize) and of the usual PIL path.

    python experiments/benchmark_data.py --json experiments/results/speed/data.json

Both give normalised 224 px batches from 32 px images, on one thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import interleave, machine, ratio, save, show
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

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.fromarray(self.images[index]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.images, 32, 32, 3), dtype=np.uint8)
    targets = [i % 2 for i in range(options.images)]
    data = ImageSet(pixels.transpose(0, 3, 1, 2).copy(), targets=targets, classes=["a", "b"])
    stream = class_incremental(data, data, n_tasks=1, seed=0, name="made up").train_stream
    ours = stream[0].dataset
    preprocess = Preprocess((options.size, options.size), MEAN, STD)
    pil = PilImages(pixels, options.size)

    def our_path() -> None:
        for images, _ in DataLoader(ours, options.batch, shuffle=True):
            preprocess(images)

    def pil_path() -> None:
        for _ in DataLoader(pil, options.batch, shuffle=True):
            pass

    seconds = interleave({"pil": pil_path, "ours": our_path}, rounds=options.rounds)
    results = {**machine("cpu"), "pil / ours": ratio(seconds, "pil", "ours")}
    for name, values in seconds.items():
        rate = options.images / sorted(values)[len(values) // 2]
        results[f"{name} images per second"] = rate
        print(f"{name}: {rate:.0f} images per second and core")
    show("our path / PIL path, images per second", results["pil / ours"], "target 10")
    save(options.json, results)


if __name__ == "__main__":
    main()
