"""Judge a frozen backbone by closed-form readouts on its features, as continual methods use it.

Usage: python experiments/probe_backbone.py embedded --data ROOT --per-class 100

Prints the accuracy (percent) of nearest class mean (cosine), linear ridge, and ridge on 2,000
random ReLU projections, on CIFAR-100 (ROOT/cifar100, 10,000 test images) and digits (no data
needed). The penalty of each ridge is chosen on a fifth of the training images. BACKBONE is
``embedded``, ``tiny``, a timm name, or a file that pretrain_embedded.py has written.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from avalanche_ham.backbones import VitEncoder, create_backbone
from avalanche_ham.backbones.embedded import hybrid_from_file
from avalanche_ham.benchmarks.digits import digits
from avalanche_ham.benchmarks.image_folder import open_folder
from avalanche_ham.heads import NearestClassMean, RidgeReadout

PENALTIES = [10 ** (power / 2) for power in range(-8, 1)]  # 1e-4 to 1


def main() -> None:
    """Print one line per data set."""
    options = parse()
    path = Path(options.backbone)
    vit = hybrid_from_file(path) if path.is_file() else create_backbone(options.backbone)
    encoder = VitEncoder(vit).eval().to(options.device)
    for name, train, test in data_sets(options.data):
        train = few_per_class(train, options.per_class, options.seed)
        begun = time.monotonic()
        features = [extract(encoder, part, options.device) for part in (train, test)]
        speed = (len(train) + len(test)) / (time.monotonic() - begun)
        scores = probe(*features[0], *features[1])
        line = ", ".join(f"{what} {value:.1f}" for what, value in scores.items())
        print(
            f"{name} ({len(train)} training images): {line}; {speed:.0f} images/s",
            flush=True,
        )


def data_sets(root: Path | None) -> Iterator[tuple[str, object, object]]:
    """Give name, training and test images of digits and, where there is data, CIFAR-100."""
    stream = digits(n_tasks=1, seed=0)
    yield "digits", stream.train_stream[0].dataset, stream.test_stream[0].dataset
    if root is not None:
        yield "cifar100", *open_folder(root / "cifar100")


def few_per_class(images: object, n: int, seed: int) -> Subset:
    """Take ``n`` random images of each class."""
    targets = torch.as_tensor(list(images.targets))
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(targets), generator=random)
    chosen = [order[targets[order] == c][:n] for c in targets.unique()]
    return Subset(images, torch.cat(chosen).tolist())


@torch.inference_mode()
def extract(encoder: nn.Module, images: object, device: str) -> tuple[Tensor, Tensor]:
    """Give features ``(N, d)`` and class ids ``(N,)``."""
    parts = []
    for batch in DataLoader(images, batch_size=200):
        parts.append((encoder(batch[0].to(device)).features.float().cpu(), batch[1]))
    return torch.cat([f for f, _ in parts]), torch.cat([y for _, y in parts])


def probe(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor) -> dict[str, float]:
    """Fit the three readouts on ``x (N, d)``, ``y (N,)``; give their test accuracies in percent."""
    width, classes = x.shape[1], int(y.max()) + 1
    mean = NearestClassMean(width, classes)
    mean.feed(x, y)
    scores = {"nearest class mean": accuracy(mean, test_x, test_y)}
    x, test_x = standardised(x, x), standardised(test_x, x)
    held_out = torch.arange(len(x)) % 5 == 0
    held_out = held_out[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    for name, projections in {"ridge": 0, "ridge on 2,000 projections": 2000}.items():
        few = fed(projections, classes, x[~held_out], y[~held_out])
        trials = {p: with_penalty(few, p) for p in PENALTIES}
        best = max(trials, key=lambda p: accuracy(trials[p], x[held_out], y[held_out]))
        readout = with_penalty(fed(projections, classes, x, y), best)
        scores[name] = accuracy(readout, test_x, test_y)
    return scores


def fed(projections: int, classes: int, x: Tensor, y: Tensor) -> RidgeReadout:
    """Feed a ridge readout with features ``x (N, d)`` of classes ``y (N,)``."""
    readout = RidgeReadout(x.shape[1], classes, projections=projections)
    readout.feed(x, y)
    return readout


def with_penalty(readout: RidgeReadout, penalty: float) -> RidgeReadout:
    """Give a readout of another penalty that has seen the same images."""
    width, classes = readout.gram.shape[0], len(readout.counts)
    if readout.n_projections:
        width = readout.projection.shape[0]
    other = RidgeReadout(width, classes, projections=readout.n_projections, penalty=penalty)
    other.load_state_dict(readout.state_dict())
    return other


def standardised(x: Tensor, reference: Tensor) -> Tensor:
    """Scale as ``reference`` needs for mean 0 and deviation 1, and add a constant 1 (intercept)."""
    scaled = (x - reference.mean(0)) / (reference.std(0) + 1e-6)
    return torch.cat([scaled, torch.ones(len(x), 1)], 1)


def accuracy(readout: nn.Module, x: Tensor, y: Tensor) -> float:
    """Give the share of right predictions in percent."""
    return 100 * (readout(x).argmax(1) == y).float().mean().item()


def parse() -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("backbone")
    p.add_argument("--data", type=Path, help="folder that holds cifar100/{train,test}/<class>")
    p.add_argument("--per-class", type=int, default=100, help="training images of each class")
    p.add_argument("--seed", type=int, default=0, help="of the choice of training images")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return p.parse_args()


if __name__ == "__main__":
    main()
