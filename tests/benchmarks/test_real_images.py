"""Real data sets, where the variable AVALANCHE_HAM_DATA names their folder."""

import os

import pytest
import torch

from avalanche_ham.benchmarks import BENCHMARKS, _image_cache, create_benchmark

ROOT = os.environ.get("AVALANCHE_HAM_DATA", "")
FOLDERS = {"cifar100": ("cifar100", 32), "tiny_imagenet": ("tiny-imagenet", 64)}


@pytest.mark.data
@pytest.mark.parametrize("name", FOLDERS)
def test_a_real_data_set_has_its_classes_sizes_and_its_cache(name, monkeypatch):
    folder, side = FOLDERS[name]
    if not ROOT or not os.path.isdir(os.path.join(ROOT, folder)):
        pytest.skip(f"AVALANCHE_HAM_DATA holds no {folder}")
    benchmark = create_benchmark(name, data_root=ROOT, n_tasks=30, seed=1)
    assert benchmark.n_classes == BENCHMARKS[name].n_classes
    for stream in (benchmark.train_stream, benchmark.test_stream):
        labels = torch.tensor([y for exp in stream for y in exp.dataset.targets])
        counts = labels.bincount()
        assert len(counts) == benchmark.n_classes and (counts == counts[0]).all()
        assert stream[0].dataset[0][0].shape == (3, side, side)
    monkeypatch.delattr(_image_cache, "decode")  # from here on only opened
    again = create_benchmark(name, data_root=ROOT, n_tasks=30, seed=1)
    first, second = (b.train_stream[0].dataset[5][0] for b in (benchmark, again))
    assert torch.equal(first, second)
