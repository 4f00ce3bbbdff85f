"""The classes of images of one's own, by a finished run."""

from __future__ import annotations

import csv
import glob
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from avalanche_ham.benchmarks._decoding import decode
from avalanche_ham.benchmarks._image_files import image_names
from avalanche_ham.errors import DataError, check_path, check_whole
from avalanche_ham.runs.classifier import Classifier
from avalanche_ham.runs.exported import classifier_in

COLUMNS = ("image", "rank", "class", "score")


class Prediction(NamedTuple):
    """One of the likeliest classes of an image.

    Attributes:
        image: its path.
        rank: 1 for the likeliest class.
        name: of the class.
        score: the head's; the larger, the likelier.
    """

    image: str
    rank: int
    name: str
    score: float


def predict(
    folder: str | Path,
    images: Sequence[str | Path],
    *,
    top: int = 1,
    head: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
    show: bool = False,
) -> list[Prediction]:
    """Classify image files by a run or an exported model, as the run's evaluation did.

    Each file becomes an upright RGB square as the training images did: the shorter side is
    resized and the centre kept.

    Args:
        folder: of the run, with its state, or of ``ham export``, as ``timm`` or ``onnx``.
        images: files, folders (with all that lies below) and patterns such as ``photos/*.jpg``.
        top: how many classes to give of each image, at least 1; all where there are fewer.
        head, device: see ``classifier_in``.
        batch_size: images at a time, at least 1.
        show: print a progress bar to standard error.

    Raises:
        DataError: if there is no image, or one cannot be read.
        StateError: if the folder holds no complete state of a run and no exported model.
        HamError: for an option outside its range, or a method that has to be told the task.
    """
    check_whole("top", top, 1)
    check_whole("batch_size", batch_size, 1)
    paths = find_images(images)
    with classifier_in(check_path("folder", folder), head=head, device=device) as classifier:
        with tqdm(total=len(paths), unit="image", disable=not show) as bar:
            found: list[Prediction] = []
            for batch in _batches(paths, batch_size):
                found += _classify(classifier, batch, top)
                bar.update(len(batch))
    return found


def find_images(words: Iterable[str | Path]) -> list[Path]:
    """List image files, each once: those named, those below folders and those of patterns.

    Raises:
        DataError: if one of the words leads to no image.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = check_path("images", word)
        names = [path] if path.exists() else sorted(glob.glob(str(path), recursive=True))
        files = [file for name in names for file in _files(Path(name))]
        if not files:
            raise DataError(f"images: there is no image {path}")
        found.update(dict.fromkeys(files))
    if not found:
        raise DataError("images: there is none")
    return list(found)


def as_csv(predictions: Iterable[Prediction]) -> str:
    """Write predictions as CSV with the columns image, rank, class and score."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows((*p[:3], f"{p.score:.6g}") for p in predictions)
    return text.getvalue()


def _files(path: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"images: {error.filename} cannot be read ({error.strerror})") from error

    if not path.is_dir():
        return [path]
    folders = []
    for folder, inside, _ in os.walk(path, onerror=refuse):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        folders.append(Path(folder))
    return [folder / name for folder in folders for name in image_names(folder)]


def _batches(paths: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    rest = iter(paths)
    return iter(lambda: list(itertools.islice(rest, size)), [])


def _classify(classifier: Classifier, paths: Sequence[Path], top: int) -> Iterator[Prediction]:
    with ThreadPoolExecutor() as pool:
        pixels = list(pool.map(lambda path: decode(str(path), classifier.side), paths))
    scores = classifier.scores(torch.from_numpy(np.stack(pixels)))
    best = scores.topk(min(top, len(classifier.names)), dim=1)
    for path, values, places in zip(paths, best.values.tolist(), best.indices.tolist()):
        for rank, (score, place) in enumerate(zip(values, places), start=1):
            yield Prediction(str(path), rank, classifier.names[place], score)
