"""Where to cut the convolutional stem, and at which input size: probes of its pooled features.

Usage: python experiments/probe_stem.py --data ROOT --sizes 96,128,160,192

No block is trained: the features are the means over positions of EfficientNet-Lite0 (ImageNet
weights, extra ``pretrain``) after each of its last stages, probed on CIFAR-100 as
``probe_backbone.py`` does, with ``--per-class`` training images and ``--test`` test images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from pretraining.teacher import efficientnet_lite
from pretraining.views import MEAN, STD
from probe_backbone import few_per_class, probe
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from avalanche_ham.backbones.hybrid import fold_batch_norms
from avalanche_ham.backbones.preprocess import Preprocess
from avalanche_ham.benchmarks.image_folder import open_folder

FIRST = 4  # the last stage at stride 16


def main() -> None:
    """Print a line per size and cut."""
    options = parse()
    network = fold_batch_norms(efficientnet_lite(0)).eval().to(torch.bfloat16)
    network.to(memory_format=torch.channels_last)
    train, test = open_folder(options.data / "cifar100")
    random = torch.Generator().manual_seed(0)
    test = Subset(test, torch.randperm(len(test), generator=random)[: options.test].tolist())
    train = few_per_class(train, options.per_class, seed=0)
    for size in map(int, options.sizes.split(",")):
        seconds = [0.0] * (len(network.blocks) + 1 - FIRST)
        x, y = extract(network, train, size, seconds)
        test_x, test_y = extract(network, test, size, seconds)
        for cut, (a, b) in enumerate(zip(x, test_x, strict=True)):
            scores = ", ".join(f"{k} {v:.1f}" for k, v in probe(a, y, b, test_y).items())
            name = "head" if cut == len(x) - 1 else f"stage {FIRST + cut}"
            speed = (len(y) + len(test_y)) / seconds[cut]
            print(f"{size} px, {name}, {a.shape[1]} channels: {scores}; {speed:.0f} images/s")


@torch.inference_mode()
def extract(
    network: nn.Module, images: object, size: int, seconds: list[float]
) -> tuple[list[Tensor], Tensor]:
    """Give pooled features ``(N, C)`` after each cut, and class ids; add up processor time."""
    resize = Preprocess((size, size), MEAN, STD)
    parts: list[list[Tensor]] = [[] for _ in seconds]
    labels = []
    for batch in DataLoader(images, batch_size=100):
        x = resize(batch[0]).to(torch.bfloat16, memory_format=torch.channels_last)
        begun = time.process_time()
        x = network.bn1(network.conv_stem(x))
        for number, stage in enumerate(network.blocks):
            x = stage(x)
            if number >= FIRST:
                parts[number - FIRST].append(x.float().mean((2, 3)))
                seconds[number - FIRST] += time.process_time() - begun
        parts[-1].append(network.bn2(network.conv_head(x)).float().mean((2, 3)))
        seconds[-1] += time.process_time() - begun
        labels.append(batch[1])
    return [torch.cat(part) for part in parts], torch.cat(labels)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", default="96,128,160,192", help="pixels")
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--test", type=int, default=3000, help="test images")
    return parser.parse_args()


if __name__ == "__main__":
    main()
