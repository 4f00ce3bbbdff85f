"""Where the student's inputs come from: images on the device, or cached features of its stem."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pretraining.cache import cached_rows
from pretraining.views import MEAN, STD, coarse, normalised, random_views
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from avalanche_ham.backbones.hybrid import STEM_CHANNELS, STEM_STRIDE, fold_batch_norms


def generator(*seeds: int) -> torch.Generator:
    """A CPU generator that depends on all ``seeds``, so that nothing need be stored to resume."""
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


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
        self.train, self.test = (torch.from_numpy(np.array(x)).to(device) for x in (train, test))
        self.size, self.seed = size, seed

    def batch(self, indices: Tensor, epoch: int) -> Tensor:
        """Give new views ``(n, 3, size, size)`` of the training images ``indices``."""
        random = generator(self.seed, 1, epoch, int(indices[0]))
        images = self.train[indices.to(self.train.device)]
        return random_views(images, self.size, MEAN, STD, generator=random)

    def validation(self, start: int, stop: int) -> Tensor:
        """Give whole validation images, ``(stop - start, 3, size, size)``."""
        return normalised(self.test[start:stop], self.size, MEAN, STD)

    def maps(self, vit: VisionTransformer, inputs: Tensor) -> Tensor | None:
        """Give what the stem makes of ``inputs``, ``(n, 320, h, w)``; None without a stem."""
        stem = getattr(vit.patch_embed, "backbone", None)
        if stem is None:
            return None
        with torch.no_grad():
            return stem(inputs)


class FeatureSource:
    """Features ``(320, size / 32, size / 32)`` of the frozen stem, cached for a few views an image.

    Each epoch takes another view of an image until all have been used.

    Args:
        stem: a ``FrozenStem`` with its weights.
        train, test: uint8 images, ``(N, 3, H, W)``.
        size: side of the stem's inputs.
        views: random views per training image, at least 1.
        coarse_views: how many of them, the last ones, are cut from shrunk images.
        folder: of the cache.
        seed: of the views.
    """

    def __init__(
        self,
        stem: nn.Module,
        train: np.ndarray,
        test: np.ndarray,
        *,
        size: int,
        views: int,
        coarse_views: int = 0,
        folder: Path,
        device: torch.device,
        seed: int,
    ) -> None:
        self.size, self.device, self.seed = size, device, seed
        self.stem = fold_batch_norms(copy.deepcopy(stem)).to(device, torch.bfloat16)
        shape = (STEM_CHANNELS, size // STEM_STRIDE, size // STEM_STRIDE)
        name = f"stem-{size}px-seed{seed}"
        whole = partial(self._whole_images, test)
        self.test = cached_rows(folder / f"{name}-test.npy", (len(test), *shape), whole)
        self.views = []
        for number in range(views):
            blurred = number >= views - coarse_views
            path = folder / f"{name}-view{number}{'-coarse' if blurred else ''}.npy"
            view = partial(self._view, train, number, blurred)
            self.views.append(cached_rows(path, (len(train), *shape), view))

    def _whole_images(self, images: np.ndarray, start: int, stop: int) -> np.ndarray:
        batch = torch.from_numpy(images[start:stop].copy()).to(self.device)
        return self._run(normalised(batch, self.size, MEAN, STD))

    def _view(
        self, images: np.ndarray, number: int, blurred: bool, start: int, stop: int
    ) -> np.ndarray:
        batch = torch.from_numpy(images[start:stop].copy()).to(self.device)
        random = generator(self.seed, 2, number, start)
        if blurred:
            batch = coarse(batch, generator=random)
        return self._run(random_views(batch, self.size, MEAN, STD, generator=random))

    @torch.inference_mode()
    def _run(self, inputs: Tensor) -> np.ndarray:
        return self.stem(inputs.to(torch.bfloat16)).float().cpu().numpy()

    def batch(self, indices: Tensor, epoch: int) -> Tensor:
        """Give a view of each of the training images ``indices``, features ``(n, 320, h, w)``."""
        chosen = (indices + epoch) % len(self.views)
        rows = [self.views[v][i] for v, i in zip(chosen.tolist(), indices.tolist())]
        return torch.from_numpy(np.stack(rows)).to(self.device).float()

    def validation(self, start: int, stop: int) -> Tensor:
        """Give the features of whole validation images."""
        return torch.from_numpy(self.test[start:stop].copy()).to(self.device).float()

    def maps(self, vit: VisionTransformer, inputs: Tensor) -> Tensor:
        """Give the stem's features, which the inputs are."""
        return inputs
