"""Weights and images get a name of their own, by which a run is told from another."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.errors import DataError, StateError
from avalanche_ham.runs.config import Resources, RunConfig, data_label, weights_label
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.runner import run


@pytest.fixture
def pictures(tmp_path):
    """An image folder of two classes with two images each, all of one size."""
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "a" / part / name).mkdir(parents=True)
            for number in range(2):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                path = tmp_path / "a" / part / name / f"{number}.bmp"
                Image.fromarray(pixels).save(path)
    return tmp_path / "a"


def _label(root) -> str | None:
    return data_label("image_folder", str(root))


def test_the_same_images_elsewhere_have_the_same_label(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "b", copy_function=shutil.copyfile)
    for path in (tmp_path / "b").rglob("*.bmp"):
        os.utime(path, (0, 0))
    label = _label(pictures)
    assert label is not None and _label(tmp_path / "b") == label


def _other_name(root):
    (root / "train" / "cat" / "1.bmp").rename(root / "train" / "cat" / "2.bmp")


def _other_class(root):
    for part in ("train", "test"):
        (root / part / "dog").rename(root / part / "wolf")


def _other_size(root):
    with (root / "test" / "dog" / "1.bmp").open("ab") as file:
        file.write(b"\0")


def _one_more(root):
    shutil.copy(root / "test" / "cat" / "0.bmp", root / "test" / "cat" / "9.bmp")


def _classes_exchanged(root):
    for part in ("train", "test"):
        (root / part / "cat").rename(root / part / "x")
        (root / part / "dog").rename(root / part / "cat")
        (root / part / "x").rename(root / part / "dog")


CHANGES = (_other_name, _other_class, _other_size, _one_more, _classes_exchanged)


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_have_another_label(pictures, change):
    before = _label(pictures)
    change(pictures)
    assert _label(pictures) != before


def test_a_broken_folder_is_refused_and_one_that_is_not_there_has_no_label(pictures):
    assert data_label("digits", str(pictures)) is None
    assert _label(pictures.parent) is None
    (pictures / "train" / "cat" / "9.bmp").symlink_to("/nowhere.bmp")
    with pytest.raises(DataError, match="9.bmp cannot be read"):
        _label(pictures)
    shutil.rmtree(pictures / "test" / "dog")
    (pictures / "train" / "cat" / "9.bmp").unlink()
    (pictures / "test" / "dog").mkdir()
    with pytest.raises(DataError, match="dog has no images"):
        _label(pictures)


def test_a_finished_run_on_other_images_is_not_taken_for_this_one(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    config = RunConfig("frozen", "image_folder", n_tasks=2, head="ncm", preset="smoke")
    here = Resources(data_root=str(pictures), device="cpu")
    record = run(config, here, out=tmp_path / "out", show=False)
    assert identity_in(record) == identity_of(replace(config, data_id=_label(pictures)))
    shutil.copytree(pictures, tmp_path / "b")
    _classes_exchanged(tmp_path / "b")
    there = replace(here, data_root=str(tmp_path / "b"))
    with pytest.raises(StateError, match="holds another run: data_id"):
        run(config, there, out=tmp_path / "out", resume=True, show=False)
    _classes_exchanged(tmp_path / "b")
    assert run(config, there, out=tmp_path / "out", resume=True, show=False) == record


def test_weights_count_by_content_not_by_name(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.pth", "b.pth", "elsewhere/a.pth"))
    c.parent.mkdir()
    for path, content in ((a, b"one"), (b, b"one"), (c, b"two")):
        path.write_bytes(content)
    labels = [weights_label("tiny", str(path)) for path in (a, b, c)]
    assert labels[0] == labels[1] != labels[2]
    assert weights_label("embedded", str(a)) not in (None, weights_label("embedded", None))
    assert weights_label("tiny", None) is None
    a.write_bytes(b"three")
    assert weights_label("tiny", str(a)) not in labels


def test_weights_that_cannot_be_read_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.pth"):
        with pytest.raises(StateError, match="weights: cannot read"):
            weights_label("tiny", str(path))


def test_a_finished_run_on_other_weights_is_not_taken_for_this_one(tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        weights = create_backbone("tiny", seed=seed).state_dict()
        torch.save(weights, tmp_path / folder / "w.pth")
    config = RunConfig("frozen", head="ncm", preset="smoke", n_tasks=2)
    a, b, c = (replace(config, weights=str(tmp_path / x / "w.pth")) for x in "abc")
    options = {"out": tmp_path / "out", "resume": True, "show": False}
    record = run(a, Resources(device="cpu"), **options)
    assert identity_in(record) == identity_of(a) != identity_of(c)
    assert run(b, Resources(device="cpu"), **options) == record
    with pytest.raises(StateError, match="holds another run: weights_id"):
        run(c, Resources(device="cpu"), **options)
