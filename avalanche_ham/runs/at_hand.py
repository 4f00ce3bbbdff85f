"""The digests of the images and weights at hand: which runs they make, before any is made."""

from __future__ import annotations

from functools import cache

from avalanche_ham.backbones.digest import weights_digest
from avalanche_ham.backbones.names import RANDOM
from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.identity import Digests


class AtHand:
    """Looks at each data set and each backbone once.

    Args:
        resources: where the data are, and whether what is missing is fetched.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self._images, self._weights = cache(self._images_of), cache(self._weights_of)

    def __call__(self, config: RunConfig) -> Digests:
        """Give the digests that a run's record will carry.

        Raises:
            HamError: if images or weights cannot be read.
        """
        s = resolve_config(config)
        images = self._images(s.benchmark, s.n_tasks, s.seed, tuple(s.data.items()))
        return Digests(self._weights(s.backbone, s.weights), *images)

    def _images_of(self, name: str, n_tasks: int, seed: int, data: tuple) -> tuple[str, str]:
        options = {**dict(data), **self.resources.source(name)}
        found = create_benchmark(name, n_tasks=n_tasks, seed=seed, **options)
        return found.images_digest, found.class_order_hash

    def _weights_of(self, backbone: str, weights: str | None) -> str | None:
        if backbone in RANDOM and weights is None:
            return None  # told by its name and the seed
        return weights_digest(create_backbone(backbone, weights=weights))
