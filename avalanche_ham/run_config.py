"""What identifies a run, and what it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import torch

from avalanche_ham.errors import OptionError

BENCHMARK_OPTIONS = ("train_per_class", "test_per_class", "holdout")


@dataclass(frozen=True)
class RunConfig:
    """Everything that identifies a run.

    Attributes:
        method, benchmark, n_tasks, seed, head, preset: as on the command line.
        backbone: a name; None takes the preset's.
        weights: a local weights file for the backbone, or None.
        options: overrides of the method's or the benchmark's options, in plain types.
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


def weights_label(backbone: str, weights: str | None) -> str | None:
    """Name the weights of a backbone, so that a run on others is another run.

    Returns:
        The name of the local weights file; for the embedded backbone the start of its
        checksum; None for weights that the backbone's own name tells.
    """
    if weights is not None:
        return PurePath(weights).name
    if backbone != "embedded":
        return None
    # brings timm and Avalanche
    from avalanche_ham.backbones.embedded import EMBEDDED_SHA256

    return f"sha256-{EMBEDDED_SHA256[:8]}"


@dataclass(frozen=True)
class Resources:
    """Where a run gets its data and what it runs on; changes no result but time.

    Attributes:
        data_root: folder of the data sets.
        device: ``cpu``, ``cuda``, ``cuda:1`` ... or ``auto``.
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
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise OptionError(
                "device", "auto, cpu or an existing cuda device", self.device
            ) from error
        return device
