"""torchvision's data sets, from small files in its own formats; torchvision reads them back."""

import functools
import json
import pickle

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets.cifar
import torchvision.datasets.flowers102
import torchvision.datasets.svhn
from PIL import Image

from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.benchmarks.torchvision_sets import SOURCES, arrays
from avalanche_ham.errors import DataError

cifar100 = functools.partial(arrays, name="cifar100")
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
    with pytest.raises(DataError, match="data_root has no CIFAR100: .*corrupted"):
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


def write_cifar10(root, noise):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for seed, name in enumerate(names):
        data = noise(seed, 1024, 6).transpose(0, 2, 1).reshape(6, 3072)
        content = {"data": data, "labels": [i % 3 for i in range(6)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["ant", "bee", "cat"]}))


def write_svhn(root, noise):
    (root / "svhn").mkdir()
    for seed, part in enumerate(("train", "test")):
        pixels = noise(seed, 32 * 32, 10).reshape(10, 32, 32, 3).transpose(1, 2, 3, 0)
        content = {"X": pixels, "y": np.arange(1, 11)[:, None]}  # 10 stands for the digit 0
        scipy.io.savemat(root / "svhn" / f"{part}_32x32.mat", content)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_gtsrb(root, noise):
    folder = root / "gtsrb" / "GTSRB"
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in range(3):
        for i in range(2):
            save(folder / "Training" / f"{label:05d}" / f"0000{i}.ppm", noise(10 * label + i))
        save(folder / "Final_Test" / "Images" / f"0000{label}.ppm", noise(100 + label))
        lines.append(f"0000{label}.ppm;6;6;0;0;5;5;{label}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(lines))


def write_flowers102(root, noise):
    folder = root / "flowers-102"
    for i in range(1, 307):
        save(folder / "jpg" / f"image_{i:05d}.jpg", noise(i, 2, 2))
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.tile(np.arange(1, 103), 3)})
    ids = np.arange(1, 307).reshape(3, 102)
    scipy.io.savemat(folder / "setid.mat", dict(zip(("trnid", "valid", "tstid"), ids)))


def write_food101(root, noise):
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    for part in ("train", "test"):
        content = {name: [f"{name}/{part}{i}" for i in range(2)] for name in ("pie", "soup")}
        (folder / "meta" / f"{part}.json").write_text(json.dumps(content))
        for number, name in enumerate(sum(content.values(), [])):
            save(folder / "images" / f"{name}.jpg", noise(number + 10 * (part == "test")))


def write_oxford_pets(root, noise):
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for start, part in ((1, "trainval"), (5, "test")):
        lines = []
        for label, name in enumerate(("Abyssinian", "great_pyrenees"), 1):
            for i in range(start, start + 2):
                save(folder / "images" / f"{name}_{i}.jpg", noise(100 * label + i))
                lines.append(f"{name}_{i} {label} 1 1")
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(lines))


WRITERS = {
    "cifar10": write_cifar10,
    "svhn": write_svhn,
    "gtsrb": write_gtsrb,
    "flowers102": write_flowers102,
    "food101": write_food101,
    "oxford_pets": write_oxford_pets,
}


@pytest.mark.parametrize("name", WRITERS)
def test_images_and_labels_are_those_that_torchvision_gives(name, tmp_path, noise, monkeypatch):
    for module in ("cifar", "svhn", "flowers102"):
        place = getattr(torchvision.datasets, module)
        monkeypatch.setattr(place, "check_integrity", lambda *args: True)
    WRITERS[name](tmp_path, noise)
    benchmark = create_benchmark(name, data_root=tmp_path, n_tasks=1, seed=1)
    source = SOURCES[name]
    make = getattr(torchvision.datasets, source.dataset)
    for part, options in (("train", source.train), ("test", source.test)):
        expected = make(tmp_path / source.root, **options)
        found = benchmark.streams[part][0].dataset
        assert len(found) == len(expected) > 0
        for (image, label, *_), (picture, target) in zip(found, expected, strict=True):
            assert np.array_equal(image, np.asarray(picture).transpose(2, 0, 1))
            assert label == target
    named = {"svhn": list("0123456789"), "gtsrb": ["00000", "00001", "00002"]}
    assert list(benchmark.class_names) == named.get(name, getattr(expected, "classes", None))


@pytest.mark.parametrize("name", sorted({*WRITERS, "cifar100"}))
def test_a_download_goes_through_torchvision(name, tmp_path, monkeypatch):
    asked = []

    def make(root, *, download, **part):
        asked.append((root, download, part))
        raise OSError("no route to host")

    source = SOURCES[name]
    monkeypatch.setattr(torchvision.datasets, source.dataset, make)
    with pytest.raises(DataError, match=f"has no {source.dataset}: .*no route to host"):
        create_benchmark(name, data_root=tmp_path, n_tasks=1, seed=1, download=True)
    assert asked == [(tmp_path / source.root, True, source.train)]
