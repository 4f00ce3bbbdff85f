"""What a run is asked to be, and what that means once every default is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from avalanche_ham.backbones.names import own_size
from avalanche_ham.benchmarks._image_files import as_text
from avalanche_ham.benchmarks.registry import BENCHMARKS, entry_of, is_image_folder, known_name
from avalanche_ham.errors import OptionError, check_path, check_text, check_whole
from avalanche_ham.heads.registry import split_heads
from avalanche_ham.runs.options import benchmark_options
from avalanche_ham.runs.presets import preset_values
from avalanche_ham.runs.settings import run_settings
from avalanche_ham.strategies.registry import get_method

if TYPE_CHECKING:
    import torch

FOLDER = "image_folder"
TRACKERS = ("wandb", "tensorboard")


@dataclass(frozen=True)
class RunConfig:
    """What a user asks for; what is left out comes from the preset and the method.

    Attributes:
        method, benchmark, n_tasks, seed, preset: as on the command line.
        head: who predicts, several with commas; None takes the method's own, else ``linear``.
        backbone: a name; None takes the preset's.
        image_size: side in pixels; None takes the preset's or the backbone's own.
        weights: a local weights file for the backbone, or None.
        options: overrides of the options of method, benchmark and readouts, in plain types.
    """

    method: str = "ham"
    benchmark: str = "digits"
    n_tasks: int = 5
    seed: int = 1
    head: str | None = None
    preset: str = "cpu"
    backbone: str | None = None
    image_size: int | None = None
    weights: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """A run with every default filled in: what all that follows reads, and nothing changes.

    Attributes:
        heads: names, the first one predicts during training.
        options: the strategy's options; ``data`` those of the benchmark, ``readouts`` those of
            the closed-form heads.
        numbers: version of the method's numbers, see ``Method``.
        probes: whether the preset always measures ``a_t`` and ``fwt``; changes no other number.
        weights: a local file, or None.
    """

    method: str
    heads: tuple[str, ...]
    benchmark: str
    n_tasks: int
    seed: int
    preset: str
    backbone: str
    image_size: int | None
    weights: str | None
    options: Mapping[str, Any]
    data: Mapping[str, Any]
    readouts: Mapping[str, Any]
    numbers: int
    probes: bool = False

    @property
    def joint(self) -> bool:
        """Whether all tasks are trained at once."""
        return self.method == "joint"


def resolve_config(config: RunConfig) -> Settings:
    """Fill in every default: the one place where a configuration is read.

    Raises:
        UnknownNameError: if a name of method, head, preset or option is unknown.
        OptionError: if a number is outside its range.
    """
    for name in ("method", "benchmark", "preset", "head", "backbone"):
        if getattr(config, name) is not None or name in ("method", "benchmark", "preset"):
            check_text(name, getattr(config, name))
    if not isinstance(config.options, Mapping):
        raise OptionError("options", "a mapping of names to values", config.options)
    method = get_method(config.method)
    check_whole("seed", config.seed, 0, 2**31)
    check_whole("n_tasks", config.n_tasks, 1, 10_000)
    benchmark = known_name(config.benchmark)
    preset = preset_values(config.preset, benchmark, config.method)
    heads = split_heads(method.head or config.head or method.default_head)
    values = run_settings(config.method, benchmark, heads, preset, config.options)
    backbone = config.backbone or preset["backbone"]
    size = config.image_size
    if size is None:
        size = image_size_of(preset, backbone)
    else:
        check_whole("image_size", size, 1)
    data = {**_stored_size(benchmark, size), **values.data}
    return Settings(
        method=config.method,
        heads=heads,
        benchmark=benchmark,
        n_tasks=config.n_tasks,
        seed=config.seed,
        preset=config.preset,
        backbone=backbone,
        image_size=size,
        weights=config.weights,
        options=MappingProxyType(values.strategy),
        data=MappingProxyType(data),
        readouts=MappingProxyType(values.readouts),
        numbers=method.numbers,
        probes=preset.get("probes", False),
    )


def _stored_size(benchmark: str, image_size: Any) -> dict[str, int]:
    """Let photographs be decoded at the size of the input, where that is above the default."""
    option = benchmark_options(benchmark).get("size")
    return {"size": image_size} if option and (image_size or 0) > option.default else {}


def image_size_of(preset: Mapping[str, Any], backbone: str) -> Any:
    """Give the side of the images in pixels where none is asked for.

    A preset's is meant for its own backbone; any other one has the size that it was trained at.
    """
    if backbone == preset["backbone"] and "image_size" in preset:
        return preset["image_size"]
    return own_size(backbone)


def asked_size(settings: Settings) -> int | None:
    """Give the image size to ask a backbone for: None where it is its own."""
    return None if settings.image_size == own_size(settings.backbone) else settings.image_size


def place_of(benchmark: str, data_root: str) -> tuple[str, str]:
    """Give the name under which a data set stands in records and tables, and where it lies.

    An image folder is called as its folder is.

    Raises:
        OptionError: if that name belongs to a data set that no folder holds.
    """
    check_text("benchmark", benchmark)
    if benchmark != FOLDER:
        return known_name(benchmark), data_root
    root = Path(data_root).expanduser().resolve()
    if not is_image_folder(root):
        return benchmark, data_root  # is refused where the images are opened
    given = as_text(root.name)
    name = known_name(given)
    if name == FOLDER or (name in BENCHMARKS and BENCHMARKS[name].folders is None):
        raise OptionError("data_root", "a folder whose name is no other data set's", given)
    return name, str(root.parent)


def at_its_place(config: RunConfig, resources: Resources) -> tuple[RunConfig, Resources]:
    """Give a run and its resources with ``place_of`` applied to them.

    Raises:
        OptionError: as ``place_of``.
    """
    benchmark, root = place_of(config.benchmark, resources.data_root)
    return replace(config, benchmark=benchmark), replace(resources, data_root=root)


@dataclass(frozen=True)
class Resources:
    """Where a run gets its data and what it runs on; changes no result but time.

    Attributes:
        data_root: folder of the data sets.
        device: ``cpu``, ``cuda``, ``cuda:1`` ..., ``mps`` or ``auto``.
        threads: torch threads, None leaves them.
        download: fetch a missing data set.
        stem_cache: run a hybrid backbone's frozen stem once per image, not once per step.
        probes: also measure the un-merged model after each task (``a_t``) and the features on
            the next one (``fwt``), as some presets do anyway.
        final_only: evaluate after the last task only and measure nothing else, for runs that
            choose settings on held-out images (option ``holdout``).
        track: one of ``TRACKERS`` that is told how the run goes, or None.
    """

    data_root: str = "~/.cache/avalanche_ham"
    device: str = "auto"
    threads: int | None = None
    download: bool = False
    stem_cache: bool = True
    probes: bool = False
    final_only: bool = False
    track: str | None = None

    def __post_init__(self) -> None:
        """Check the number of threads: with many more the system ends the process.

        Raises:
            OptionError: if it is below 1 or above 1024, or the data root is no path.
        """
        if self.threads is not None:
            check_whole("threads", self.threads, 1, 1024)
        check_path("data_root", self.data_root)

    def source(self, benchmark: str) -> dict[str, Any]:
        """Give what ``create_benchmark`` must know to find a data set, or to fetch it."""
        fetched = self.download and entry_of(benchmark).downloads
        root = Path(self.data_root).expanduser()
        return {"data_root": root, **({"download": True} if fetched else {})}

    def torch_device(self) -> torch.device:
        """Give the device.

        Raises:
            OptionError: if there is no such device.
        """
        import torch  # takes a second, which reading a configuration need not wait for

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
