"""Where the student's inputs come from: images on the device, or cached features of its stem."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pretraining.cache import cached_rows
from pretraining.views import normalised, random_views
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from avalanche_ham.backbones.hybrid import fold_batch_norms

MEAN = STD = (0.5, 0.5, 0.5)


def generator(*seeds: int) -> torch.Generator:
    """A CPU generator that depends on all ``seeds``, so that nothing need be stored to resume."""
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


class ImageSource:
    """Uint8 images on the device, cut anew each time they are asked for."""

    def __init__(
        self,
        train: np.ndarray,
        test: np.ndarray,
        size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        self.train, self.test = (
            torch.from_numpy(np.array(x)).to(device) for x in (train, test)
        )
        self.size, self.seed = size, seed

    def batch(self, indices: Tensor, epoch: int) -> Tensor:
        """Give new views ``(n, 3, size, size)`` of the training images ``indices``."""
        random = generator(self.seed, 1, epoch, int(indices[0]))
        images = self.train[indices.to(self.train.device)]
        return random_views(images, self.size, MEAN, STD, generator=random)

    def validation(self, start: int, stop: int) -> Tensor:
        """Give whole validation images, ``(stop - start, 3, size, size)``."""
        return normalised(self.test[start:stop], self.size, MEAN, STD)

    def tokens(self, vit: VisionTransformer, inputs: Tensor) -> Tensor:
        """Embed ``inputs`` as tokens ``(n, L, width)``."""
        return vit.patch_embed(inputs)


class FeatureSource:
    """Features ``(112, size / 16, size / 16)`` of the frozen stem, cached for a few views an image.

    Each epoch takes another view of an image until all have been used.
    """

    def __init__(
        self,
        stem: torch.nn.Module,
        train: np.ndarray,
        test: np.ndarray,
        *,
        size: int,
        views: int,
        folder: Path,
        device: torch.device,
        seed: int,
        report: Callable[[str], None] = print,
    ) -> None:
        self.device, self.seed = device, seed
        stem = fold_batch_norms(copy.deepcopy(stem)).to(device, torch.bfloat16)

        @torch.inference_mode()
        def run(inputs: Tensor) -> np.ndarray:
            return stem(inputs.to(torch.bfloat16)).float().cpu().numpy()

        def view(number: int) -> Callable[[int, int], np.ndarray]:
            def compute(start: int, stop: int) -> np.ndarray:
                images = torch.from_numpy(train[start:stop].copy()).to(device)
                random = generator(seed, 2, number, start)
                return run(random_views(images, size, MEAN, STD, generator=random))

            return compute

        def whole(start: int, stop: int) -> np.ndarray:
            images = torch.from_numpy(test[start:stop].copy()).to(device)
            return run(normalised(images, size, MEAN, STD))

        shape = (stem.num_features, size // 16, size // 16)
        name = f"stem-{size}px-seed{seed}"
        self.test = cached_rows(folder / f"{name}-test.npy", (len(test), *shape), whole)
        self.views = [
            cached_rows(
                folder / f"{name}-view{v}.npy", (len(train), *shape), view(v), report=report
            )
            for v in range(views)
        ]

    def batch(self, indices: Tensor, epoch: int) -> Tensor:
        """Give a view of each of the training images ``indices``, features ``(n, 112, h, w)``."""
        chosen = (indices + epoch) % len(self.views)
        rows = [self.views[v][i] for v, i in zip(chosen.tolist(), indices.tolist())]
        return torch.from_numpy(np.stack(rows)).to(self.device).float()

    def validation(self, start: int, stop: int) -> Tensor:
        """Give the features of whole validation images."""
        return torch.from_numpy(self.test[start:stop].copy()).to(self.device).float()

    def tokens(self, vit: VisionTransformer, inputs: Tensor) -> Tensor:
        """Embed ``inputs`` as tokens ``(n, L, width)``."""
        return vit.patch_embed.proj(inputs).flatten(2).transpose(1, 2)
