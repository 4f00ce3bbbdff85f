import numpy as np
import pytest
import torch
from PIL import Image

from avalanche_ham.benchmarks import cub200 as module
from avalanche_ham.benchmarks.cub200 import cub200
from avalanche_ham.errors import DataError, OptionError

SPECIES = ("001.Albatross", "002.Auklet")
BIRD = (10.0, 20.0, 30.0, 30.0)  # left, top, width, height


@pytest.fixture
def original(tmp_path):
    """Write CUB's layout: grey birds, paler below, on black; every third for testing."""
    folder = tmp_path / "CUB_200_2011"
    lists = {"images": [], "train_test_split": [], "bounding_boxes": []}
    for number in range(1, 7):
        name = f"{SPECIES[number > 3]}/bird_{number}.png"
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((60, 80 + number, 3), np.uint8)
        pixels[20:35, 10:40] = number * 20
        pixels[35:50, 10:40] = number * 20 + 10
        Image.fromarray(pixels).save(path)
        lists["images"].append(name)
        lists["train_test_split"].append(str(int(number % 3 != 0)))
        lists["bounding_boxes"].append(" ".join(map(str, BIRD)))
    for name, values in lists.items():
        lines = [f"{number} {value}\n" for number, value in enumerate(values, start=1)]
        (folder / f"{name}.txt").write_text("".join(lines))
    return tmp_path


def images(benchmark, stream):
    dataset = getattr(benchmark, stream)[0].dataset
    return torch.stack([x for x, _ in dataset]), [y for _, y in dataset]


def test_an_image_folder_comes_first(write_folder, original):
    write_folder(original / "cub200", ["ant", "bee"])
    benchmark = cub200(data_root=original, n_tasks=1, seed=1)
    assert benchmark.class_names == ("ant", "bee") and benchmark.name == "cub200"


def test_the_original_layout_is_split_as_its_list_says(original):
    benchmark = cub200(data_root=original, n_tasks=1, seed=1, size=60)
    assert benchmark.class_names == SPECIES
    x, y = images(benchmark, "train_stream")
    assert y == [0, 0, 1, 1] and x.shape == (4, 3, 60, 60)
    assert x[:, 0, 25, 10].tolist() == [20, 40, 80, 100]  # inside the bird
    x, y = images(benchmark, "test_stream")
    assert y == [0, 1] and x[:, 0, 25, 10].tolist() == [60, 120]
    assert x.amin() == 0  # the whole photograph, with its background


def test_bounding_boxes_leave_only_the_bird(original):
    benchmark = cub200(data_root=original, n_tasks=1, seed=1, size=30, bounding_box=True)
    x, _ = images(benchmark, "train_stream")
    values = torch.tensor([20, 40, 80, 100]).view(4, 1, 1, 1)
    assert (x[:, :, :15] == values).all() and (x[:, :, 15:] == values + 10).all()


def test_full_and_cropped_images_are_cached_apart(original):
    for bounding_box in (True, False):
        options = {"n_tasks": 1, "seed": 1, "size": 16, "bounding_box": bounding_box}
        x, _ = images(cub200(data_root=original, **options), "train_stream")
        assert (x.amin() > 0) == bounding_box


def test_a_box_beyond_the_image_is_cut_to_it(original):
    boxes = original / "CUB_200_2011" / "bounding_boxes.txt"
    boxes.write_text("".join(f"{i} 10.0 20.0 30.0 900.0\n" for i in range(1, 7)))
    x, _ = images(
        cub200(data_root=original, n_tasks=1, seed=1, size=30, bounding_box=True),
        "train_stream",
    )
    assert x[:, 0, 5, 15].tolist() == [20, 40, 80, 100]  # row 30 of the photograph


def test_an_image_folder_has_no_boxes(write_folder, tmp_path):
    write_folder(tmp_path / "cub200")
    with pytest.raises(OptionError, match="bounding_box must be False"):
        cub200(data_root=tmp_path, n_tasks=1, seed=1, bounding_box=True)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("train_test_split", "1 1\n", "the lists in .*CUB_200_2011 do not fit"),
        ("bounding_boxes", "1 a b c d\n", "the lists in .*CUB_200_2011 do not fit"),
        ("bounding_boxes", "1 inf 0 1 1\n", "the lists in .*CUB_200_2011 do not fit"),
        ("images", "", "images has no images"),
    ],
)
def test_lists_that_do_not_fit_end_with_one_clear_line(name, text, message, original):
    (original / "CUB_200_2011" / f"{name}.txt").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        cub200(data_root=original, n_tasks=1, seed=1, bounding_box=True)
    assert "\n" not in str(caught.value)


def test_missing_data_end_with_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="data_root has no CUB-200-2011"):
        cub200(data_root=tmp_path, n_tasks=1, seed=1)


def test_the_original_is_fetched_where_there_is_none(original, monkeypatch):
    asked = []

    def fetch(url, *, md5, root, folder):
        asked.append((url, md5))
        (root / "away").rename(root / folder)

    monkeypatch.setattr(module, "fetch_folder", fetch)
    (original / "CUB_200_2011").rename(original / "away")
    cub200(data_root=original, n_tasks=1, seed=1, size=8, download=True)
    assert asked == [(module.URL, module.MD5)]
