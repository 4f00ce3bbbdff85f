"""The command that makes a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from avalanche_ham.runs.config import RunConfig, resolve_config
from avalanche_ham.runs.identity import identity_entries
from avalanche_ham.runs.option import as_word


def command_of(identity: Mapping[str, Any], *, local_weights: bool = False) -> str:
    """Write ``ham run`` with all options that differ from what the preset would choose.

    Args:
        identity: entries of a record or a state, see ``identity_entries``.
        local_weights: whether the backbone's weights came from a file.
    """
    names = ("method", "benchmark", "n_tasks", "seed", "head", "preset")
    given = {name: identity[name] for name in names}
    for name in ("backbone", "image_size"):
        usual = identity_entries(resolve_config(RunConfig(**given)))
        if identity[name] != usual[name]:
            given[name] = identity[name]
    usual = identity_entries(resolve_config(RunConfig(**given)))["hyperparameters"]
    values = identity["hyperparameters"].items()
    named = {"tasks" if name == "n_tasks" else name: value for name, value in given.items()}
    # apart, because InfLoRA has an option n_tasks
    own = {name: value for name, value in values if value != usual.get(name)}
    flags = [*named.items(), *own.items()]
    words = [f"--{name.replace('_', '-')}={shlex.quote(as_word(value))}" for name, value in flags]
    places = ["--data-root DATA", *(["--weights FILE"] if local_weights else []), "--out RUN"]
    return " ".join(["ham run", *words, *places])
