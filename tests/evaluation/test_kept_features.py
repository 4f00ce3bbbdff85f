"""Test images are encoded once while features stay, and the accuracies are the same to the bit."""

from __future__ import annotations

import pytest

from avalanche_ham.runs import run as module
from avalanche_ham.runs.runner import Resources, RunConfig, run

HEADS = "linear,ncm,lda_drift"
IMAGES = {"test_per_class": 4, "eval_batch_size": 16, "lr": 0.05}  # 8 a task, 40 in the end


@pytest.mark.parametrize(
    ("method", "options", "encoded"),
    [
        # of 8, 16, 24, 32, 40 images seen; whole batches of 16 once, what is over each time
        ("frozen", {}, 8 + 16 + 8 + 16 + 8),
        ("ncm", {}, 8 + 16 + 8 + 16 + 8),
        ("fsa", {}, 8 + 16 + 8 + 16 + 8),
        ("ham", {"adapt_tasks": 3}, 8 + 16 + 24 + 16 + 8),
        ("lora", {}, 8 + 16 + 24 + 32 + 40),
    ],
)
def test_what_is_encoded_again(method, options, encoded, monkeypatch):
    config = RunConfig(
        method=method,
        preset="smoke",
        n_tasks=5,
        head="ncm" if method == "ncm" else HEADS,
        options={**IMAGES, **options},
    )
    cpu, counts = Resources(device="cpu"), []
    original = module.evaluate

    def spied(strategy, experiences, heads, kept):
        encode = strategy.model.encode
        strategy.model.encode = lambda images: counts.append(len(images)) or encode(images)
        try:
            return original(strategy, experiences, heads, kept)
        finally:
            del strategy.model.encode

    monkeypatch.setattr(module, "evaluate", spied)
    first = run(config, cpu, show=False)
    assert sum(counts) == encoded
    monkeypatch.setattr(module, "evaluate", lambda s, tests, heads, kept: original(s, tests, heads))
    every_time = run(config, cpu, show=False)
    for key in ("accuracy_matrix", "accuracy_task_known", "right"):
        assert first[key] == every_time[key]
