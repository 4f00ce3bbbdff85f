"""Run a frozen convolutional stem once per image instead of once per step and evaluation.

In a hybrid ViT the stem in front of the tokens never changes, whatever the method, so its output
can take the images' place. It is computed once, kept in a file, and shared by all runs on
the same images.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline
from avalanche.benchmarks.utils import as_classification_dataset
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from tqdm import tqdm

from avalanche_ham.arrays import StoredArray, write_array
from avalanche_ham.backbones.hybrid import FrozenStem
from avalanche_ham.benchmarks.benchmark import Benchmark
from avalanche_ham.errors import DataError
from avalanche_ham.files import remove_abandoned
from avalanche_ham.locks import waited_for
from avalanche_ham.seeding import preserved

BATCH = 32
FORMAT = 2  # to be raised when the same stem and images give other outputs


class StemFeatures(Dataset):
    """Stem outputs ``(C, h, w)``, fp32, with their class ids.

    Args:
        array: ``(n, C, h, w)``.
        targets: class ids, length n.
    """

    def __init__(self, array: StoredArray, targets: Sequence[int]) -> None:
        self.array, self.targets = array, list(targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.array[index].copy()), self.targets[index]


def find_stem(encoder: nn.Module) -> FrozenStem | None:
    """Give the encoder's frozen stem, None if it has none."""
    return next((m for m in encoder.modules() if isinstance(m, FrozenStem)), None)


def _stem_of(encoder: nn.Module) -> FrozenStem:
    stem = find_stem(encoder)
    assert stem is not None, "only an encoder with a frozen stem can be shortened"
    return stem


def past_stem(benchmark: Benchmark, encoder: nn.Module, folder: Path) -> Benchmark:
    """Give the same benchmark with stem outputs in place of the images.

    Class ids, tasks and the order of images stay. The encoder recognises its own stem's
    output and goes on from there, so results differ from those on images by rounding alone.

    Args:
        benchmark: on uint8 images.
        encoder: has a ``FrozenStem``.
        folder: where the outputs are kept, keyed by stem weights and images. If it cannot
            be written, a warning says so and the benchmark comes back as it is.
    """
    try:
        streams = {
            name: _stream(
                getattr(benchmark, f"{name}_stream"),
                encoder,
                folder / f"{_key(benchmark.stream_digest(name), encoder)}.rows",
            )
            for name in ("train", "test")
        }
    except OSError as error:
        warnings.warn(
            f"stem outputs cannot be kept in {folder} ({error.strerror or error}), so the stem "
            "runs at every step; AVALANCHE_HAM_CACHE names another folder",
            stacklevel=2,
        )
        return benchmark
    scenario = with_classes_timeline(benchmark_from_datasets(**streams))
    return Benchmark(
        scenario.streams.values(),
        name=benchmark.name,
        class_names=benchmark.class_names,
        tasks=benchmark.tasks,
        chosen=benchmark.chosen,
        domains=benchmark.domains,
    )


def _stream(stream: Any, encoder: nn.Module, path: Path) -> list[Any]:
    parts = [experience.dataset.eval() for experience in stream]
    targets = [int(t) for part in parts for t in part.targets]
    # by class, so that streams of other lengths over the same images share one file
    order = sorted(range(len(targets)), key=targets.__getitem__)
    array = _outputs(Subset(ConcatDataset(parts), order), encoder, path)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    whole = as_classification_dataset(StemFeatures(array, sorted(targets)))
    bounds = np.cumsum([0, *map(len, parts)])
    return [whole.subset(place[start:end].tolist()) for start, end in itertools.pairwise(bounds)]


def _outputs(images: Subset, encoder: nn.Module, path: Path) -> StoredArray:
    """Open the file that holds the stem's outputs on these images; write it first if need be."""
    with contextlib.suppress(OSError, DataError):  # missing or damaged
        return _open(path, images)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent)
    with waited_for(path, "computes these stem outputs"):
        if path.exists():
            try:
                return _open(path, images)
            except (OSError, DataError) as error:  # damaged after it was written
                warnings.warn(f"{error}; the stem outputs are computed again", stacklevel=2)
        write_array(path, _compute(images, encoder))
        return _open(path, images)


def _open(path: Path, images: Subset) -> StoredArray:
    array = StoredArray(path)
    if len(array) != len(images):
        raise DataError(f"{path} holds {len(array)} rows, not {len(images)}")
    return array


@torch.no_grad()
def _compute(images: Subset, encoder: Any) -> Iterator[np.ndarray]:
    """Give the stem's outputs, fp32, batch by batch."""
    stem, device = _stem_of(encoder), next(encoder.parameters()).device
    with tqdm(total=len(images), desc="stem outputs", unit="image", disable=None) as bar:
        for batch in _batches(images):
            outputs = stem(encoder.preprocess(batch.to(device)))
            yield outputs.float().cpu().numpy()
            bar.update(len(batch))


def _batches(images: Subset) -> Iterator[Tensor]:
    with preserved():  # even a loader that does not shuffle draws a random number
        batches = iter(DataLoader(images, BATCH, collate_fn=_stacked))
    yield from batches


def _stacked(samples: list[Any]) -> Tensor:
    return torch.stack([sample[0] for sample in samples])


def _key(images: str, encoder: Any) -> str:
    """Hash what the outputs follow from: images, input size, normalisation, stem weights."""
    digest = hashlib.sha256(repr((FORMAT, images, encoder.preprocess.size)).encode())
    state = {
        **_stem_of(encoder).state_dict(),
        **dict(encoder.preprocess.named_buffers()),
    }
    for name in sorted(state):
        digest.update(name.encode() + state[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
