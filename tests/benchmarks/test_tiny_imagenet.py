import pytest
import torch
from PIL import Image

from avalanche_ham.benchmarks import tiny_imagenet as module
from avalanche_ham.benchmarks.tiny_imagenet import tiny_imagenet
from avalanche_ham.errors import DataError

WNIDS = ("n02", "n01", "n03")


@pytest.fixture
def original(tmp_path, noise):
    """Write the layout in which Tiny-ImageNet is distributed."""
    folder = tmp_path / "tiny-imagenet-200"
    seed, lines = 0, []
    for wnid in WNIDS:
        (folder / "train" / wnid / "images").mkdir(parents=True)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("x_0.JPEG\t0\t0\t9")
        for i in range(2):
            seed += 1
            path = folder / "train" / wnid / "images" / f"{wnid}_{i}.PNG"
            Image.fromarray(noise(seed, 64, 64)).save(path)
    (folder / "val" / "images").mkdir(parents=True)
    for i, wnid in enumerate(("n03", "n01", "n02", "n01")):
        name = f"val_{i}.PNG"
        Image.fromarray(noise(50 + i, 64, 64)).save(folder / "val" / "images" / name)
        lines.append(f"{name}\t{wnid}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return tmp_path


def test_an_image_folder_comes_first(write_folder, original):
    write_folder(original / "tiny-imagenet", ["ant", "bee"])
    benchmark = tiny_imagenet(data_root=original, n_tasks=1, seed=1)
    assert benchmark.class_names == ("ant", "bee")
    assert benchmark.name == "tiny_imagenet"


def test_the_original_layout_gives_the_same_classes_and_images(original, noise):
    benchmark = tiny_imagenet(data_root=original, n_tasks=1, seed=1)
    assert benchmark.class_names == ("n01", "n02", "n03")
    train, test = benchmark.train_stream[0].dataset, benchmark.test_stream[0].dataset
    expected = [3, 4, 1, 2, 5, 6]  # seeds of the images, by sorted class
    for (x, y), label, seed in zip(train, [0, 0, 1, 1, 2, 2], expected):
        assert y == label and torch.equal(x.permute(1, 2, 0), as_tensor(noise, seed))
    assert [y for _, y in test] == [2, 0, 1, 0]
    assert torch.equal(test[2][0].permute(1, 2, 0), as_tensor(noise, 52))


def as_tensor(noise, seed):
    return torch.from_numpy(noise(seed, 64, 64))


@pytest.mark.parametrize("line", ["val_0.PNG\tn99\t0\n", "val_0.PNG n01\n", "\n", "\xff"])
def test_annotations_that_do_not_fit_end_with_one_clear_line(line, original):
    path = original / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    path.write_text(line)
    with pytest.raises(DataError, match="val_annotations.txt must name") as caught:
        tiny_imagenet(data_root=original, n_tasks=1, seed=1)
    assert "\n" not in str(caught.value)


def test_an_annotated_image_that_is_missing_is_named(original):
    (original / "tiny-imagenet-200" / "val" / "images" / "val_3.PNG").unlink()
    with pytest.raises(DataError, match="val_3.PNG is missing"):
        tiny_imagenet(data_root=original, n_tasks=1, seed=1)


def test_missing_data_end_with_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="data_root has no Tiny-ImageNet"):
        tiny_imagenet(data_root=tmp_path, n_tasks=1, seed=1)


def test_the_original_is_fetched_only_where_there_is_none(original, monkeypatch):
    asked = []

    def fetch(url, *, md5, root, folder):
        asked.append((url, md5, root / folder))
        (root / "away").rename(root / folder)

    monkeypatch.setattr(module, "fetch_folder", fetch)
    tiny_imagenet(data_root=original, n_tasks=1, seed=1, download=True)
    assert asked == []
    folder = original / "tiny-imagenet-200"
    folder.rename(original / "away")
    tiny_imagenet(data_root=original, n_tasks=1, seed=1, download=True)
    assert asked == [(module.URL, module.MD5, folder)]
