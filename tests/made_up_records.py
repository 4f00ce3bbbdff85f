"""Made-up records: what a finished run would have left, with chosen numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from avalanche_ham.reporting.setup import Setup
from avalanche_ham.runs.archive import Archive, write_failure
from avalanche_ham.runs.config import resolve_config
from avalanche_ham.runs.identity import Digests, identity_entries, identity_of


def made_up(config, **values) -> dict:
    """Give the record of a run that was never made."""
    settings, n = resolve_config(config), config.n_tasks
    digests = Digests(None, "sha256-1", "0123456789ab")
    triangle = [[0.5] * (t + 1) + [None] * (n - t - 1) for t in range(n)]
    return {
        **identity_entries(settings, digests=digests),
        "scope": ["current"] * n,
        "selection": "test",
        "versions": {"avalanche-ham": "0.1.0"},
        "commit": None,
        "clean": None,
        "date": None,
        "device": "cpu",
        "processor": None,
        "threads": 1,
        "precision": "fp32",
        "segments": [],
        "test_images": [100] * n,
        "accuracy_matrix": triangle,
        "accuracy_task_known": triangle,
        "right": None,
        "aa": 50.0,
        "fm": 10.0,
        "bwt": -10.0,
        "aaa": 55.0,
        "fwt": None,
        "a_t": None,
        "a_t_merged": 50.0,
        "train_seconds": [2.0] * n,
        "feed_seconds": [0.0] * n,
        "drift_seconds": [0.0] * n,
        "eval_seconds": [0.1 * (t + 1) for t in range(n)],
        "trainable_parameters": [1000] * n,
        "stored_parameters": [1000 * (t + 1) for t in range(n)],
        "memory_bytes": 0,
        "peak_memory_mb": 100.0,
        "groups": {
            "members": [t % 2 for t in range(n)],
            "similarities": [[0.1, -0.1][: min(t, 2)] for t in range(n)],
            "group_alphas": [1.0, 1.1],
            "alphas": [{"start": [1.0], "end": [1.0] * min(t + 1, 3)} for t in range(n)],
        },
        "hierarchy": None,
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
        archive = Archive()
        for config, values in pairs:
            archive.add(made_up(config, **values))
        return archive

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
