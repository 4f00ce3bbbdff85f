"""What identifies a run, and what it runs on."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from avalanche_ham.errors import DataError, OptionError, StateError


@dataclass(frozen=True)
class RunConfig:
    """Everything that identifies a run.

    Attributes:
        method, benchmark, n_tasks, seed, head, preset: as on the command line.
        backbone: a name; None takes the preset's.
        weights: a local weights file for the backbone, or None.
        options: overrides of the method's or the benchmark's options, in plain types.
        data_id: ``data_label`` of the images, by which a table finds its records; a run
            looks at the images itself.
    """

    method: str = "ham"
    benchmark: str = "digits"
    n_tasks: int = 5
    seed: int = 1
    head: str = "linear"
    preset: str = "cpu"
    backbone: str | None = None
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    data_id: str | None = None


def weights_label(backbone: str, weights: str | None) -> str | None:
    """Name the weights of a backbone, so that a run on others is another run.

    Returns:
        The start of the checksum of the local weights file or of the embedded weights; None
        for weights that the backbone's own name tells.

    Raises:
        StateError: if the weights file cannot be read.
    """
    if weights is not None:
        try:
            status = os.stat(weights)
            return _checksum(weights, status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise StateError(f"weights: cannot read {weights}: {error.strerror}") from error
    if backbone != "embedded":
        return None
    # brings timm and Avalanche
    from avalanche_ham.backbones.embedded import EMBEDDED_SHA256

    return f"sha256-{EMBEDDED_SHA256[:8]}"


@cache
def _checksum(path: str, size: int, changed: int) -> str:
    """Give the start of a file's checksum; a table asks for it once per cell."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return f"sha256-{digest.hexdigest()[:8]}"


def data_label(benchmark: str, data_root: str) -> str | None:
    """Name the images of an image folder, so that a run on others is another run.

    Every image counts with its name, class and size, the first one of each class also with its
    content, since uncompressed images are all of one size. Where the folder lies does not count.

    Returns:
        The start of a checksum; None for the other benchmarks, whose names tell their images,
        and if there is no such folder.

    Raises:
        DataError: if the folder does not hold ``{train,test}/<class>/<image>``.
    """
    root = Path(data_root).expanduser()
    if benchmark != "image_folder" or not (root / "train").is_dir():
        return None
    from avalanche_ham.benchmarks._image_files import scan_classes

    digest = hashlib.sha256()
    for part in ("train", "test"):
        files, previous = scan_classes(root / part), None
        for name, target in zip(files.names, files.targets):
            path = files.folder / name
            try:
                digest.update(repr((part, name, path.stat().st_size)).encode())
                if target != previous:
                    digest.update(path.read_bytes())
            except OSError as error:
                raise DataError(f"the image {path} cannot be read") from error
            previous = target
    return f"sha256-{digest.hexdigest()[:8]}"


@dataclass(frozen=True)
class Resources:
    """Where a run gets its data and what it runs on; changes no result but time.

    Attributes:
        data_root: folder of the data sets.
        device: ``cpu``, ``cuda``, ``cuda:1`` ..., ``mps`` or ``auto``.
        threads: torch threads, None leaves them.
        download: fetch a missing data set.
        stem_cache: run a hybrid backbone's frozen stem once per image, not once per step.
        probes: also measure the un-merged model after each task (``a_t``).
    """

    data_root: str = "~/.cache/avalanche_ham"
    device: str = "auto"
    threads: int | None = None
    download: bool = False
    stem_cache: bool = True
    probes: bool = False

    def torch_device(self) -> torch.device:
        """Give the device.

        Raises:
            OptionError: if there is no such device.
        """
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        allowed = "auto, cpu or an existing cuda (cuda:1 ...) or mps device"
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(self.device)):
            raise OptionError("device", allowed, self.device)  # torch knows more kinds
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise OptionError("device", allowed, self.device) from error
        return device
