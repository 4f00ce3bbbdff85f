import copy
import pickle

import numpy as np
import pytest
import torch

from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import DataError

NAMES = ("ant", "bee")


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (4, 3, 5, 7), dtype=np.uint8)


@pytest.fixture
def stored(array, tmp_path):
    np.save(tmp_path / "images.npy", array)
    return tmp_path / "images.npy"


def test_gives_bytes_and_plain_class_ids(array):
    images = ImageSet(array, targets=torch.tensor([0, 1, 1, 0]), classes=NAMES)
    x, y = images[2]
    assert x.dtype == torch.uint8 and torch.equal(x, torch.from_numpy(array[2]))
    assert y == 1 and type(y) is int
    assert len(images) == 4 and images.image_shape == (3, 5, 7)


@pytest.mark.parametrize("source", ["array", "tensor", "file"])
def test_an_image_changed_in_place_leaves_the_data_alone(source, array, stored):
    forms = {"array": array, "tensor": torch.from_numpy(array), "file": stored}
    images = ImageSet(forms[source], targets=[0, 1, 1, 0], classes=NAMES)
    before = images[1][0].clone()
    images[1][0].add_(1)
    assert torch.equal(images[1][0], before)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda images: pickle.loads(pickle.dumps(images))]
)
def test_a_copied_set_opens_its_file_again(duplicate, stored, array):
    images = ImageSet(stored, targets=[0, 1, 1, 0], classes=NAMES)
    again = duplicate(images)
    assert torch.equal(again[3][0], torch.from_numpy(array[3]))
    assert again.targets == images.targets and again.classes == images.classes
    assert len(pickle.dumps(images)) < array.nbytes + 200
    np.save(stored, np.zeros((4, 3, 99, 99), np.uint8))
    assert duplicate(images).image_shape == (3, 99, 99)  # the file, not a copy of it


@pytest.mark.parametrize(
    "images, targets, message",
    [
        (np.zeros((2, 3, 4, 4), np.float32), [0, 1], "uint8 of shape"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], "uint8 of shape"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0], "1 targets for 2 images"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0, 2], "range from 0 to 2"),
        (np.zeros((2, 3, 4, 4), np.uint8), [-1, 0], "range from -1 to 0"),
    ],
)
def test_refuses_what_is_no_set_of_images(images, targets, message):
    with pytest.raises(DataError, match=message):
        ImageSet(images, targets=targets, classes=NAMES)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_an_array_file_that_holds_a_pickle_is_refused_unread(tmp_path):
    sprung = tmp_path / "sprung"
    with open(tmp_path / "images.npy", "wb") as file:
        np.save(file, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    with open(tmp_path / "plain.npy", "wb") as file:
        pickle.dump(Trap(sprung), file)
    for name in ("images.npy", "plain.npy"):
        with pytest.raises(DataError, match=name):
            ImageSet(tmp_path / name, targets=[0], classes=NAMES)
    assert not sprung.exists()


@pytest.mark.parametrize("kept", [0, 40, 200])
def test_a_truncated_array_file_is_refused(kept, stored):
    stored.write_bytes(stored.read_bytes()[:kept])
    with pytest.raises(DataError, match="images.npy"):
        ImageSet(stored, targets=[0, 1, 1, 0], classes=NAMES)
