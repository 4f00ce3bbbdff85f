"""Presets: plain tables of overrides, each value with its source.

``smoke`` runs in seconds and proves nothing but that the code runs. ``cpu`` is sized for a
laptop. ``paper`` is the set-up of the HAM paper, for a GPU; values that the paper's text lacks
are marked.
"""

from __future__ import annotations

from typing import Any

from avalanche_ham.errors import UnknownNameError

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "backbone": "tiny",
        "steps": 3,
        "batch_size": 8,
        "lr": 1e-3,
        "train_per_class": 8,
        "test_per_class": 4,
    },
    "cpu": {
        "backbone": "embedded",
        "steps": 60,  # fewer leave every adapter near its start
        "batch_size": 16,
        # On held-out training images of CIFAR-100 at 10 tasks (experiments/README.md): 1e-3
        # moves the features so far that old heads and readouts no longer fit them, and a head
        # that learns at the adapter's rate stays untrained.
        "lr": 2e-4,
        "head_lr": 1e-2,
        "train_per_class": 100,
        "test_per_class": 10,
        "eval_batch_size": 64,
    },
    "paper": {
        "backbone": "vit_base_patch16_224.augreg_in21k_ft_in1k",  # tag not in the paper
        "epochs": 5,  # not in the paper
        "batch_size": 64,  # Sec. 4.1
        "lr": 5e-4,  # not in the paper
        "precision": "bf16",  # ours
        "eval_batch_size": 256,
    },
}

BENCHMARK_OVERRIDES: dict[tuple[str, str], dict[str, Any]] = {
    ("cpu", "digits"): {"train_per_class": None, "test_per_class": None},
    ("paper", "cub200"): {"epochs": 20},  # about 120 images a task at 50 tasks; not in the paper
    ("paper", "digits"): {"epochs": 5},
}


METHOD_OVERRIDES: dict[tuple[str, str], dict[str, Any]] = {}


def preset_values(
    preset: str, benchmark: str, method: str | None = None
) -> dict[str, Any]:
    """Give a preset's values for a benchmark and, if one is named, for a method.

    Raises:
        UnknownNameError: if there is no such preset.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    return {
        **PRESETS[preset],
        **BENCHMARK_OVERRIDES.get((preset, benchmark), {}),
        **METHOD_OVERRIDES.get((preset, method or ""), {}),
    }
