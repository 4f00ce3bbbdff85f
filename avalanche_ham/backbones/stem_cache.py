"""Run a frozen convolutional stem once per image instead of once per step and evaluation.

In a hybrid ViT the stem in front of the tokens never changes, whatever the method, so its output
can take the images' place. It is computed once, kept in a memory-mapped file, and shared by all
runs on the same images.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline
from avalanche.benchmarks.utils import as_classification_dataset
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from avalanche_ham.backbones.hybrid import FrozenStem
from avalanche_ham.benchmarks.class_incremental import Benchmark
from avalanche_ham.seeding import preserved

BATCH = 32


class StemFeatures(Dataset):
    """Stem outputs ``(C, h, w)``, fp32, with their class ids.

    Args:
        array: ``(n, C, h, w)``, usually memory-mapped.
        targets: class ids, length n.
    """

    def __init__(self, array: np.ndarray, targets: Sequence[int]) -> None:
        self.array, self.targets = array, list(targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.array[index].copy()), self.targets[index]


def find_stem(encoder: nn.Module) -> FrozenStem | None:
    """Give the encoder's frozen stem, None if it has none."""
    return next((m for m in encoder.modules() if isinstance(m, FrozenStem)), None)


def past_stem(benchmark: Benchmark, encoder: nn.Module, folder: Path) -> Benchmark:
    """Give the same benchmark with stem outputs in place of the images.

    Class ids, tasks and the order of images stay. The encoder recognises its own stem's
    output and goes on from there, so results differ from those on images by rounding alone.

    Args:
        benchmark: on uint8 images.
        encoder: has a ``FrozenStem``.
        folder: where the outputs are kept, keyed by stem weights and images.
    """
    streams = {
        name: _stream(getattr(benchmark, f"{name}_stream"), encoder, folder)
        for name in ("train", "test")
    }
    scenario = with_classes_timeline(benchmark_from_datasets(**streams))
    return Benchmark(
        scenario.streams.values(),
        name=benchmark.name,
        class_names=benchmark.class_names,
        tasks=benchmark.tasks,
    )


def _stream(stream: Any, encoder: nn.Module, folder: Path) -> list[Any]:
    parts = [experience.dataset.eval() for experience in stream]
    targets = [int(t) for part in parts for t in part.targets]
    # by class, so that streams of other lengths over the same images share one file
    order = sorted(range(len(targets)), key=targets.__getitem__)
    array = _outputs(ConcatDataset(parts), order, encoder, folder)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    whole = as_classification_dataset(StemFeatures(array, sorted(targets)))
    bounds = np.cumsum([0, *map(len, parts)])
    return [
        whole.subset(place[start:end].tolist()) for start, end in zip(bounds, bounds[1:])
    ]


@torch.no_grad()
def _outputs(images: Dataset, order: list[int], encoder: nn.Module, folder: Path) -> np.ndarray:
    """Compute the stem's outputs in the given order, or map the file that holds them."""
    ordered = torch.utils.data.Subset(images, order)
    with preserved():
        batches = list(DataLoader(ordered, BATCH, collate_fn=_images))
    path = folder / f"{_key(batches, encoder)}.npy"
    if not path.exists():
        stem, device = find_stem(encoder), next(encoder.parameters()).device
        with open_npy(path, len(order)) as rows:
            for batch in batches:
                rows.write(stem(encoder.preprocess(batch.to(device))).float().cpu().numpy())
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _images(samples: list[Any]) -> Tensor:
    return torch.stack([sample[0] for sample in samples])


def _key(batches: list[Tensor], encoder: nn.Module) -> str:
    """Hash what the outputs follow from: images, input size, normalisation, stem weights."""
    digest = hashlib.sha256(repr(encoder.preprocess.size).encode())
    state = {**find_stem(encoder).state_dict(), **dict(encoder.preprocess.named_buffers())}
    for name in sorted(state):
        digest.update(name.encode() + state[name].cpu().contiguous().numpy().tobytes())
    for batch in batches:
        digest.update(batch.contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


class open_npy:  # noqa: N801 - used as a function
    """Write an ``.npy`` file row by row; it gets its name when it is complete."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows = path, rows
        self.partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        self.array: np.memmap | None = None
        self.done = 0

    def __enter__(self) -> open_npy:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, rows: np.ndarray) -> None:
        """Append rows of shape ``(n, ...)``."""
        if self.array is None:
            shape = (self.rows, *rows.shape[1:])
            self.array = np.lib.format.open_memmap(self.partial, "w+", rows.dtype, shape)
        self.array[self.done : self.done + len(rows)] = rows
        self.done += len(rows)

    def __exit__(self, kind: type | None, *args: object) -> None:
        if kind is None and self.array is not None:
            self.array.flush()
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink(missing_ok=True)
