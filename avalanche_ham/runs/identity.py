"""What makes two runs the same, so that a finished one is found and never made again."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from typing import Any, NamedTuple

from avalanche_ham.runs.config import RunConfig, weights_label
from avalanche_ham.runs.presets import preset_values
from avalanche_ham.runs.settings import defaults, run_settings
from avalanche_ham.strategies.registry import METHODS, get_method


class Identity(NamedTuple):
    """A run's identity; two runs with equal ones give the same record."""

    method: str
    head: str
    benchmark: str
    n_tasks: int
    seed: int
    backbone: str
    preset: str
    weights: str | None  # checksum of a local file or of the embedded ones
    hyperparameters: str  # a hash of all of them
    data: str | None = None  # checksum of an image folder

    @property
    def slug(self) -> str:
        """A folder name that says what is in it."""
        words = (
            self.method,
            self.head,
            self.benchmark,
            f"{self.n_tasks}tasks",
            f"seed{self.seed}",
            self.backbone,
            self.preset,
            self.weights or "",
            self.data or "",
            self.hyperparameters,
        )
        return re.sub(r"[^\w.=-]", "_", "-".join(word for word in words if word))


def identity_of(config: RunConfig) -> Identity:
    """Give the identity that a configuration's record will have, without running it.

    Raises:
        UnknownNameError: if it names a method, benchmark, preset or option that there is not.
        StateError: if its weights file cannot be read.
    """
    options = json.dumps(config.options, sort_keys=True)
    backbone, digest = _resolved(config.method, config.preset, config.benchmark, options)
    return Identity(
        config.method,
        get_method(config.method).head or config.head,
        config.benchmark,
        config.n_tasks,
        config.seed,
        config.backbone or backbone,
        config.preset,
        weights_label(config.backbone or backbone, config.weights),
        digest,
        config.data_id,
    )


def identity_in(record: dict[str, Any]) -> Identity:
    """Give the identity of a record.

    An option that the method had not yet when the record was written counts as its present
    default: a new option's default is what was done before there was a choice.
    """
    method = record["method"]
    values = {**_defaults(method), **record.get("hyperparameters", {})}
    return Identity(
        method,
        record["head"],
        record["benchmark"],
        record["n_tasks"],
        record["seed"],
        record["backbone"],
        record["preset"],
        record.get("weights_id"),
        _digest(values),
        record.get("data_id"),
    )


@cache
def _resolved(method: str, preset: str, benchmark: str, options: str) -> tuple[str, str]:
    """Give a preset's backbone, and the hash of all hyper-parameters as ``Run`` sets them."""
    values, given = preset_values(preset, benchmark, method), json.loads(options)
    of_strategy, of_data = run_settings(method, benchmark, values, given)
    return values["backbone"], _digest({**of_strategy, **of_data})


def _digest(values: dict[str, Any]) -> str:
    """Hash values; what is None or absent counts the same, and so do 1 and 1.0."""
    plain = {k: _plain(v) for k, v in sorted(values.items()) if v is not None}
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:8]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


@cache
def _defaults(method: str) -> dict[str, Any]:
    return defaults(method) if method in METHODS else {}
