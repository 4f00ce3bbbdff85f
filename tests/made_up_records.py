"""Made-up records: what a finished run would have left, with chosen numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from avalanche_ham.reporting.setup import Setup
from avalanche_ham.runs.archive import Archive, write_failure
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.presets import preset_values
from avalanche_ham.runs.settings import run_settings


def made_up(config, **values) -> dict:
    """Give the record of a run that was never made."""
    preset = preset_values(config.preset, config.benchmark, config.method)
    resolved, data = run_settings(config.method, config.benchmark, preset, config.options)
    n = config.n_tasks
    return {
        "method": config.method,
        "head": identity_of(config).head,
        "benchmark": config.benchmark,
        "n_tasks": n,
        "seed": config.seed,
        "preset": config.preset,
        "backbone": config.backbone or preset["backbone"],
        "weights_id": identity_of(config).weights,
        "data_id": config.data_id,
        "hyperparameters": {**resolved, **data},
        "accuracy_matrix": [[0.5] * (t + 1) + [None] * (n - t - 1) for t in range(n)],
        "test_images": [100] * n,
        "scope": ["current"] * n,
        "aa": 50.0,
        "fm": 10.0,
        "train_seconds": [2.0] * n,
        "eval_seconds": [0.1 * (t + 1) for t in range(n)],
        "stored_parameters": [1000 * (t + 1) for t in range(n)],
        "groups": {
            "members": [t % 2 for t in range(n)],
            "similarities": [[0.1, -0.1][: min(t, 2)] for t in range(n)],
            "group_alphas": [1.0, 1.1],
            "alphas": [{"start": [1.0], "end": [1.0] * min(t + 1, 3)} for t in range(n)],
        },
        **values,
    }


class Shelf:
    """A folder of made-up records."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def put(self, config, **values) -> None:
        path = self.folder / identity_of(config).slug / "records.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made_up(config, **values)) + "\n")

    def fail(self, config, **values) -> None:
        note = {"error": "out of memory", "tasks_done": 3, **values}
        write_failure(self.folder / identity_of(config).slug, config, **note)


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    return Shelf(tmp_path / "records")


@pytest.fixture
def archive_of():
    """A function from (config, values) pairs to an archive in memory."""

    def make(*pairs) -> Archive:
        records = [made_up(config, **values) for config, values in pairs]
        return Archive({identity_in(record): record for record in records})

    return make


@pytest.fixture
def setup(tmp_path) -> Setup:
    """Two seeds, two methods, CIFAR-100 and Tiny-ImageNet there, CUB-200 not."""
    for name in ("cifar100", "tiny-imagenet"):
        (tmp_path / "data" / name).mkdir(parents=True)
    return Setup(
        seeds=(1, 2),
        heads=("linear",),
        methods=("finetune", "ham"),
        data_root=str(tmp_path / "data"),
    )


@pytest.fixture
def with_setup(setup):
    """A function that changes some of the setup's choices."""
    return lambda **changes: replace(setup, **changes)
