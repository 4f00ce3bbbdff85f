"""All values of all planned runs are looked at before the first run starts."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import Any

from avalanche_ham.backbones import create_model
from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.errors import HamError
from avalanche_ham.runs.config import RunConfig, Settings, asked_size, resolve_config
from avalanche_ham.runs.plan import describe
from avalanche_ham.runs.settings import build_strategy, readout_settings


def check_runs(runs: Iterable[RunConfig]) -> None:
    """Make the strategy of every run, without images, as the run itself would.

    Runs that differ in the images or the seed alone are looked at once, and each backbone is
    made once, without timm's weights.

    Raises:
        HamError: for the first run that could not start, or whose strategy refuses a value.
    """
    backbones: dict[tuple[str, int | None, str | None], Any] = {}
    seen = set()
    for config in runs:
        settings = resolve_config(config)
        size = asked_size(settings)
        network = (settings.backbone, size, settings.weights)
        values = (repr(settings.options), repr(settings.readouts))
        key = (settings.method, settings.heads, *network, *values)
        if key in seen:
            continue
        seen.add(key)
        try:
            if network not in backbones:
                name, size, weights = network
                backbones[network] = create_backbone(
                    name, pretrained=False, image_size=size, weights=weights
                )
            _build(settings, copy.deepcopy(backbones[network]))
        except HamError as error:
            raise HamError(f"{error} ({describe(config)})") from error


def _build(settings: Settings, backbone: Any) -> None:
    model = create_model(
        backbone,
        n_classes=2,
        head=",".join(settings.heads),
        readouts=readout_settings(settings.readouts, settings.heads),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an evaluator without loggers is meant
        build_strategy(settings.method, settings.options, model=model, evaluator=None)
