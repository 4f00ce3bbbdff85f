"""Fixtures: a tiny random ViT, a made-up ten-class benchmark, one thread."""

from __future__ import annotations

import os
import warnings

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest
import torch
from timm.layers import trunc_normal_

from avalanche_ham import create_model


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="No loggers specified")


@pytest.fixture
def same_draws(monkeypatch):
    """Heads start from timm's draws, which all versions share; torch's own have changed."""
    monkeypatch.setattr("torch.nn.init.trunc_normal_", trunc_normal_)


@pytest.fixture
def model():
    """A continual model on the tiny random ViT with ten classes."""
    return create_model("tiny", n_classes=10)


@pytest.fixture
def tiny_model():
    """A factory of continual models on the tiny random ViT."""

    def make(n_classes: int = 10, **options):
        return create_model("tiny", n_classes=n_classes, **options)

    return make


@pytest.fixture(scope="session", params=[12, pytest.param(100, marks=pytest.mark.slow)])
def long_benchmark(request):
    """Many tasks of two classes of noise each: twelve by default, a hundred among the slow."""
    from streams import many_tasks

    return many_tasks(request.param)


@pytest.fixture
def benchmark():
    """Ten classes of easily told coloured noise in five experiences, 12 images a class."""
    from avalanche_ham.benchmarks.class_incremental import class_incremental
    from avalanche_ham.benchmarks.image_set import ImageSet

    generator = torch.Generator().manual_seed(0)
    means = torch.randint(40, 215, (10, 3, 1, 1), generator=generator)

    def images(per_class: int) -> ImageSet:
        targets = torch.arange(10).repeat_interleave(per_class)
        noise = torch.randint(-30, 30, (len(targets), 3, 8, 8), generator=generator)
        pixels = (means[targets] + noise).clamp(0, 255).to(torch.uint8)
        return ImageSet(pixels, targets=targets.tolist(), classes=[str(c) for c in range(10)])

    return class_incremental(images(12), images(6), n_tasks=5, seed=3, name="made_up")


@pytest.fixture
def offline_wandb(monkeypatch):
    """W&B without a network, in a state of its own: it reads its variables once a process."""
    wandb = pytest.importorskip("wandb")
    wandb.teardown()
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield wandb
    wandb.teardown()
