"""What makes two runs the same: the only place that answers this.

A record, a saved state and a note of failure all begin with the entries of ``identity_entries``.
Tables ask by what they can know without images and weights (``Identity.asked``); a run that goes
on, or is found finished, must also agree in the digests of its images and weights, in the order
of its classes, and in the version of its method's numbers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, NamedTuple

from avalanche_ham.runs.config import RunConfig, Settings, resolve_config
from avalanche_ham.runs.options import readout_options
from avalanche_ham.runs.settings import defaults
from avalanche_ham.strategies.registry import METHODS

KEPT = "_identity"  # no field of a configuration: neither compared nor copied with it
NAMES = {"n_tasks": "tasks", "numbers_version": "numbers version"}  # how a user calls it


class Digests(NamedTuple):
    """What a run is told by that only its images and weights know; None where unknown or none.

    Attributes:
        weights: of the backbone's tensors; None for a random backbone.
        images: of the images used.
        classes: which classes come in which task.
    """

    weights: str | None = None
    images: str | None = None
    classes: str | None = None


class Identity(NamedTuple):
    """A run's identity; two runs with equal ones give the same record."""

    method: str
    head: str
    benchmark: str
    n_tasks: int
    seed: int
    preset: str
    backbone: str
    image_size: int | None
    options: str  # a hash of all of them but the readout's
    readout: str  # a hash of those
    numbers: int
    digests: Digests = Digests()

    @property
    def asked(self) -> Identity:
        """What a table asks for: neither digests nor the version of the numbers."""
        return self._replace(numbers=0, digests=Digests())

    @property
    def training(self) -> Identity:
        """What is asked for whatever the head: runs that differ in nothing else train once."""
        return self.asked._replace(head="", readout="")

    @property
    def slug(self) -> str:
        """A folder name that says what is in it."""
        whole = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        words = (
            self.method,
            self.head,
            self.benchmark,
            f"{self.n_tasks}tasks",
            f"seed{self.seed}",
            self.backbone,
            self.preset,
            whole,
        )
        return re.sub(r"[^\w.=-]", "_", "-".join(words))


def identity_entries(
    settings: Settings, head: str | None = None, digests: Digests = Digests()
) -> dict[str, Any]:
    """Give the entries of a record that say which run it is.

    Args:
        settings: of the run.
        head: one of its heads; None names all of them, as a saved state does.
        digests: of its images and weights.
    """
    heads = ",".join(settings.heads) if head is None else head
    readouts = {k: settings.readouts[k] for k in readout_options(*heads.split(","))}
    return {
        "method": settings.method,
        "head": heads,
        "benchmark": settings.benchmark,
        "n_tasks": settings.n_tasks,
        "seed": settings.seed,
        "preset": settings.preset,
        "backbone": settings.backbone,
        "image_size": settings.image_size,
        "hyperparameters": _plain({**settings.options, **settings.data, **readouts}),
        "numbers_version": settings.numbers,
        "weights_digest": digests.weights,
        "images_digest": digests.images,
        "class_order_hash": digests.classes,
    }


def identity_in(entries: Mapping[str, Any], head: str | None = None) -> Identity:
    """Give the identity of a record, a state or a note of failure.

    An option that the method or its readout had not yet when a record was written counts as its
    present default: a new option's default is what was done before there was a choice.

    Args:
        entries: of the record or state.
        head: one of the heads of a state; None takes them as they are there.

    Raises:
        KeyError: if an entry is missing.
    """
    head = entries["head"] if head is None else head
    values, of_all = entries["hyperparameters"], readout_options()
    of_head = readout_options(*head.split(","))
    own = {k: v for k, v in values.items() if k not in of_all}
    return Identity(
        entries["method"],
        head,
        entries["benchmark"],
        entries["n_tasks"],
        entries["seed"],
        entries["preset"],
        entries["backbone"],
        entries["image_size"],
        _hash({**_defaults(entries["method"]), **own}),
        _hash({k: values.get(k, option.default) for k, option in of_head.items()}),
        entries["numbers_version"],
        Digests(entries["weights_digest"], entries["images_digest"], entries["class_order_hash"]),
    )


def identity_of(config: RunConfig) -> Identity:
    """Give the identity that a configuration's record will have, but for the digests.

    A table asks for that of one configuration many times: it stays beside the fields.
    """
    kept = vars(config)
    if KEPT not in kept:
        kept[KEPT] = _identity_of(json.dumps(asdict(config), sort_keys=True))
    return kept[KEPT]


@cache
def _identity_of(config: str) -> Identity:
    """Resolve a configuration once, as a table asks for it in many cells."""
    return identity_in(identity_entries(resolve_config(RunConfig(**json.loads(config)))))


def difference(mine: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Say how what was found differs: the first entry, or all options that do.

    An entry has its name on the command line.
    """
    for name in mine:
        given, there = mine[name], found.get(name)
        if there == given:
            continue
        if name != "hyperparameters" or not isinstance(there, dict):
            return f"{NAMES.get(name, name)}: {there} there, {given} given"
        names = {**there, **given}
        pairs = {k: (there.get(k, "none"), given.get(k, "none")) for k in names}
        words = (f"{k}: {a} there, {b} given" for k, (a, b) in pairs.items() if a != b)
        return "; ".join(words)
    return None


def _hash(values: Mapping[str, Any]) -> str:
    """Hash values; what is None or absent counts the same, and so do 1 and 1.0."""
    plain = {k: _comparable(v) for k, v in sorted(values.items()) if v is not None}
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:8]


def _comparable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_comparable(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in sorted(values.items())}


@cache
def _defaults(method: str) -> dict[str, Any]:
    return defaults(method) if method in METHODS else {}
