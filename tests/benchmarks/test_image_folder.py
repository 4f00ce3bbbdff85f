import shutil

import pytest
import torch

from avalanche_ham.benchmarks.image_folder import image_folder, open_folder
from avalanche_ham.errors import DataError


def test_a_folder_becomes_a_benchmark_of_its_classes(write_folder, tmp_path):
    root = write_folder(tmp_path / "mine", ["cat", "ant", "bee"])
    benchmark = image_folder(data_root=str(root), n_tasks=2, seed=1)
    assert benchmark.name == "mine"
    assert benchmark.class_names == ("ant", "bee", "cat") and benchmark.n_classes == 3
    assert [len(e.dataset) for e in benchmark.train_stream] == [6, 3]
    assert [len(e.dataset) for e in benchmark.test_stream] == [4, 2]


def test_images_keep_their_pixels_and_sorted_order(write_folder, noise, tmp_path):
    train, test = open_folder(write_folder(tmp_path / "mine"))
    assert train.targets == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert test.targets == [0, 0, 1, 1, 2, 2]
    for i in range(9):
        expected = torch.from_numpy(noise(i + 1)).permute(2, 0, 1)
        assert torch.equal(train[i][0], expected)
    assert torch.equal(test[0][0], torch.from_numpy(noise(10)).permute(2, 0, 1))


def test_hidden_and_other_files_are_no_images(write_folder, tmp_path):
    root = write_folder(tmp_path / "mine")
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    (root / "train" / "ant" / ".hidden.png").write_text("not an image")
    (root / "train" / ".git").mkdir()
    (root / "train" / "list.csv").write_text("")
    (root / "test" / "bee" / "0.png").rename(root / "test" / "bee" / "0.PNG")
    train, test = open_folder(root)
    assert (len(train), len(test)) == (9, 6)


def delete(*parts):
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def replace_by_text(root):
    shutil.rmtree(root / "test" / "bee")
    (root / "test" / "bee").mkdir()
    (root / "test" / "bee" / "0.txt").write_text("")


def empty_train(root):
    shutil.rmtree(root / "train")
    (root / "train").mkdir()


@pytest.mark.parametrize(
    "spoil, message",
    [
        (delete(), "there is no folder .*mine/train"),
        (delete("test"), "there is no folder .*mine/test"),
        (empty_train, "mine/train is empty"),
        (replace_by_text, r"the class .*test/bee has no images \(files ending in .avif"),
        (delete("test", "bee"), "same classes, but 'bee' is in one only"),
        (delete("train", "cat"), "same classes, but 'cat' is in one only"),
    ],
)
def test_an_unusable_folder_ends_with_one_clear_line(spoil, message, write_folder, tmp_path, cache):
    root = write_folder(tmp_path / "mine")
    spoil(root)
    with pytest.raises(DataError, match=message) as caught:
        image_folder(data_root=root, n_tasks=2, seed=1)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_many_classes_that_differ_are_cut_short(write_folder, tmp_path):
    root = write_folder(tmp_path / "mine", [f"c{i}" for i in range(6)])
    for i in range(1, 6):
        shutil.rmtree(root / "test" / f"c{i}")
    with pytest.raises(DataError, match="'c1', 'c2', 'c3', ... are in one only"):
        image_folder(data_root=root, n_tasks=2, seed=1)
