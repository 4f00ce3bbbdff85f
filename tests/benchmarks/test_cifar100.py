import pickle

import numpy as np
import pytest
import torch
import torchvision.datasets.cifar

from avalanche_ham.benchmarks.cifar100 import cifar100
from avalanche_ham.errors import DataError

NAMES = [f"class {label:03}" for label in range(100)]


def row(label, value):
    """One image in torchvision's files: 1,024 red, then green, then blue bytes."""
    blue = np.arange(1024) // 32  # brighter from row to row
    return np.concatenate([np.repeat([label, value], 1024), blue]).astype(np.uint8)


@pytest.fixture
def files(tmp_path):
    """Write what torchvision's archive holds, with two images per class in training."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for part, values in (("train", (1, 2)), ("test", (3,))):
        labels = [label for label in range(100) for _ in values]
        data = np.stack([row(label, v) for label in range(100) for v in values])
        content = {"data": data, "fine_labels": labels}
        (folder / part).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES}))
    return tmp_path


@pytest.fixture
def trusted(monkeypatch):
    """Let torchvision take the files without their checksums."""
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5: True)


def test_an_image_folder_comes_first(write_folder, files, trusted):
    write_folder(files / "cifar100", ["ant", "bee"])
    benchmark = cifar100(data_root=files, n_tasks=1, seed=1)
    assert benchmark.class_names == ("ant", "bee") and benchmark.name == "cifar100"


def test_torchvisions_files_are_read_otherwise(files, trusted):
    benchmark = cifar100(data_root=str(files), n_tasks=50, seed=1)
    assert benchmark.class_names == tuple(NAMES)
    assert len(benchmark.train_stream) == len(benchmark.test_stream) == 50
    assert [len(e.dataset) for e in benchmark.train_stream] == [4] * 50
    assert [len(e.dataset) for e in benchmark.test_stream] == [2] * 50
    for x, y in benchmark.test_stream[3].dataset:
        assert x.dtype == torch.uint8 and x.shape == (3, 32, 32)
        assert (x[0] == y).all() and (x[1] == 3).all()
        assert (x[2] == torch.arange(32).view(32, 1)).all()


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_files_with_other_checksums_are_never_unpickled(files):
    for name in ("train", "test", "meta"):
        trap = pickle.dumps(Trap(files / "sprung"))
        (files / "cifar-100-python" / name).write_bytes(trap)
    with pytest.raises(DataError, match="data_root has no CIFAR-100: .*corrupted"):
        cifar100(data_root=files, n_tasks=1, seed=1)
    assert not (files / "sprung").exists()


def test_missing_files_end_with_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="must hold cifar100/{train,test}") as caught:
        cifar100(data_root=tmp_path / "nowhere", n_tasks=1, seed=1)
    assert "\n" not in str(caught.value)


def test_a_failed_download_ends_with_one_clear_line(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    with pytest.raises(DataError, match="no route to host"):
        cifar100(data_root=tmp_path, n_tasks=1, seed=1, download=True)
