"""A run is told from another by all that can change its numbers, down to the pictures' bytes."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.errors import OptionError, StateError
from avalanche_ham.runs.at_hand import AtHand
from avalanche_ham.runs.config import Resources, RunConfig, at_its_place, resolve_config
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.runner import run
from avalanche_ham.strategies.registry import METHODS

CPU = Resources(device="cpu")
CONFIG = RunConfig("frozen", "pets", n_tasks=2, head="ncm", preset="smoke")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pictures(tmp_path):
    """An image folder of two classes with two images each, all of one size."""
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "a" / "pets" / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                path = tmp_path / "a" / "pets" / part / name / f"{number}.bmp"
                Image.fromarray(pixels).save(path)
    return tmp_path / "a" / "pets"


def here(root) -> Resources:
    return Resources(data_root=str(root.parent), device="cpu")


def digest(root, **changes) -> str | None:
    return AtHand(here(root))(replace(CONFIG, **changes)).images


def test_a_missing_set_is_fetched_before_it_is_looked_at(monkeypatch, tmp_path):
    asked = []
    made = SimpleNamespace(images_digest="images", class_order_hash="order")

    def fetch(name, **options):
        asked.append((name, options))
        return made

    monkeypatch.setattr("avalanche_ham.runs.at_hand.create_benchmark", fetch)
    config = replace(CONFIG, benchmark="cifar100")
    for download in (True, False):
        found = AtHand(Resources(data_root=str(tmp_path), download=download))(config)
        assert (found.images, found.classes) == ("images", "order")
    assert [options.get("download") for _, options in asked] == [True, None]
    assert [options["data_root"] for _, options in asked] == [tmp_path] * 2


def test_the_same_images_elsewhere_are_the_same(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "b" / "pets", copy_function=shutil.copyfile)
    for path in (tmp_path / "b").rglob("*.bmp"):
        os.utime(path, (0, 0))
    assert digest(tmp_path / "b" / "pets") == digest(pictures) is not None


def _other_class(root):
    for part in ("train", "test"):
        (root / part / "dog").rename(root / part / "wolf")


def _one_more(root):
    shutil.copy(root / "test" / "cat" / "0.bmp", root / "test" / "cat" / "9.bmp")


def _classes_exchanged(root):
    for part in ("train", "test"):
        (root / part / "cat").rename(root / part / "x")
        (root / part / "dog").rename(root / part / "cat")
        (root / part / "x").rename(root / part / "dog")


def _other_pixels(root, name="cat/0.bmp"):
    """Replace a picture by one of the same size, time and all."""
    path = root / "train" / name
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-8] ^= 255
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _second_picture(root):
    _other_pixels(root, "dog/1.bmp")


CHANGES = (_other_pixels, _second_picture, _other_class, _one_more, _classes_exchanged)


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_are_another_run(pictures, change):
    before = digest(pictures)
    change(pictures)
    assert digest(pictures) != before


def test_only_the_images_that_are_used_count(pictures):
    few = {"options": {"train_per_class": 1, "test_per_class": 1}}
    before = digest(pictures, **few)
    digests = set()
    for number in range(3):
        _other_pixels(pictures, f"cat/{number}.bmp")
        digests.add(digest(pictures, **few) == before)
        _other_pixels(pictures, f"cat/{number}.bmp")
    assert digests == {True, False}  # one of three is used
    assert digest(pictures, **few) == before != digest(pictures)


@pytest.mark.parametrize("change", [_other_pixels, _classes_exchanged])
def test_neither_a_finished_nor_a_half_finished_run_goes_on_with_other_images(
    pictures, tmp_path, change
):
    def cut(current):
        raise KeyboardInterrupt

    whole, half = tmp_path / "whole", tmp_path / "half"
    record = run(CONFIG, here(pictures), out=whole, show=False)
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, here(pictures), out=half, show=False, after_task=cut)
    change(pictures)
    for out in (whole, half):
        with pytest.raises(StateError, match="holds another run: images_digest"):
            run(CONFIG, here(pictures), out=out, resume=True, show=False)
    change(pictures)
    for out in (whole, half):
        again = run(CONFIG, here(pictures), out=out, resume=True, show=False)
        assert again["accuracy_matrix"] == record["accuracy_matrix"]


def test_an_image_folder_bears_the_name_of_its_folder(pictures, tmp_path):
    asked = replace(CONFIG, benchmark="image_folder")
    resources = Resources(data_root=str(pictures), device="cpu")
    record = run(asked, resources, show=False)
    assert record["benchmark"] == "pets"
    assert record["images_digest"] == digest(pictures)
    pictures.rename(tmp_path / "imagenet-r")
    found, there = at_its_place(asked, replace(resources, data_root=str(tmp_path / "imagenet-r")))
    assert (found.benchmark, there.data_root) == ("imagenet_r", str(tmp_path))
    assert run(found, there, show=False)["images_digest"] == record["images_digest"]
    (tmp_path / "imagenet-r").rename(tmp_path / "digits")
    with pytest.raises(OptionError, match="data_root must be a folder whose name is no other"):
        at_its_place(asked, replace(resources, data_root=str(tmp_path / "digits")))


def test_a_data_set_called_as_its_folder_is_the_same():
    asked = [RunConfig(benchmark=name) for name in ("tiny-imagenet", "tiny_imagenet")]
    assert identity_of(asked[0]) == identity_of(asked[1])
    mixed = resolve_config(RunConfig(benchmark="cifar100+imagenet-r+my-birds"))
    assert mixed.benchmark == "cifar100+imagenet_r+my-birds"


def test_weights_count_by_their_tensors_not_by_their_file(tmp_path):
    state = create_backbone("tiny", seed=1).state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "b.safetensors")
    state["norm.bias"] = state["norm.bias"] + 1
    torch.save(state, tmp_path / "c.pth")
    a, b, c = (
        AtHand(CPU)(replace(CONFIG, benchmark="digits", weights=str(tmp_path / name))).weights
        for name in ("a.pth", "b.safetensors", "c.pth")
    )
    assert a == b != c and a.startswith("sha256-")
    assert AtHand(CPU)(replace(CONFIG, benchmark="digits")).weights is None


def test_a_finished_run_on_other_weights_is_not_taken_for_this_one(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.save(create_backbone("tiny", seed=seed).state_dict(), tmp_path / f"{name}.pth")
    asked = replace(CONFIG, benchmark="digits")
    a, b, c = (replace(asked, weights=str(tmp_path / f"{x}.pth")) for x in "abc")
    options = {"out": tmp_path / "out", "resume": True, "show": False}
    record = run(a, Resources(device="cpu"), **options)
    assert run(b, Resources(device="cpu"), **options) == record
    with pytest.raises(StateError, match="holds another run: weights_digest"):
        run(c, Resources(device="cpu"), **options)


def test_a_run_of_an_older_version_of_its_method_is_another_run(tmp_path, monkeypatch):
    asked = replace(CONFIG, benchmark="digits")
    options = {"out": tmp_path / "out", "resume": True, "show": False}
    run(asked, Resources(device="cpu"), **options)
    monkeypatch.setitem(METHODS, "frozen", METHODS["frozen"]._replace(numbers=99))
    with pytest.raises(StateError, match="numbers version: 1 there, 99 given"):
        run(asked, Resources(device="cpu"), **options)


def test_the_image_size_is_part_of_the_identity_and_the_own_one_is_the_default():
    own, same, other = (replace(CONFIG, image_size=size) for size in (None, 16, 32))
    assert identity_of(own) == identity_of(same) != identity_of(other)
    record = run(replace(other, benchmark="digits"), Resources(device="cpu"), show=False)
    assert record["image_size"] == 32
    assert identity_in(record).asked == identity_of(replace(other, benchmark="digits")).asked
