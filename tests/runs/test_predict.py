"""What a run says of images of one's own is what its evaluation said of them."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
import torch
from photos import CLASSES, draw_photos
from PIL import Image

from avalanche_ham.cli.main import main
from avalanche_ham.errors import DataError, HamError, OptionError, StateError, UnknownNameError
from avalanche_ham.runs.export import load_strategy
from avalanche_ham.runs.predict import find_images, predict
from avalanche_ham.runs.records import read_records
from avalanche_ham.runs.runner import Resources, RunConfig, run
from avalanche_ham.runs.saving import load_tree, save_tree


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    draw_photos(root / "photos")
    return root


def trained(data, out, method="ham", **config):
    options = {"steps": 15, "lr": 1e-2, **config.pop("options", {})}
    whole = RunConfig(
        method=method, benchmark="photos", n_tasks=2, preset="smoke", options=options, **config
    )
    resources = Resources(device="cpu", data_root=data)
    return run(whole, resources, out=out, show=False)


@pytest.fixture(scope="module")
def ham(data, tmp_path_factory):
    """The folder of a run of two tasks with three heads."""
    out = tmp_path_factory.mktemp("run") / "ham"
    trained(data, out, head="linear,ncm,ridge")
    return out


def right_of(predictions):
    """Fraction of the images whose folder has the name of their first class."""
    first = [p for p in predictions if p.rank == 1]
    return sum(p.image.split("/")[-2] == p.name for p in first) / len(first)


def accuracy_of(record):
    return float(np.mean(record["accuracy_matrix"][-1]))  # tasks of as many images each


@pytest.mark.parametrize("head", [None, "linear", "ncm", "ridge"])
def test_the_images_of_the_test_are_told_as_in_the_record(ham, data, head):
    records = {record["head"]: record for record in read_records(ham / "records.jsonl")}
    record = records[head or "linear"]
    found = predict(ham, [data / "photos" / "test"], head=head, device="cpu", batch_size=5)
    assert len(found) == 24
    assert right_of(found) == pytest.approx(accuracy_of(record))
    assert right_of(found) > 0.25


@pytest.mark.parametrize("method", ["finetune", "sema", "dual_prompt", "ncm"])
def test_methods_that_fold_nothing_predict_as_well(method, data, tmp_path):
    whole = RunConfig(method=method, benchmark="photos", n_tasks=2, preset="smoke")
    record = run(whole, Resources(device="cpu", data_root=data), out=tmp_path / "run", show=False)
    found = predict(tmp_path / "run", [data / "photos" / "test"], device="cpu")
    assert right_of(found) == pytest.approx(accuracy_of(record))


def test_scores_are_those_of_the_merged_model_in_their_order(ham, data):
    path = data / "photos" / "test" / "bee" / "3.png"
    found = predict(ham, [path], top=9, device="cpu")
    strategy = load_strategy(ham)
    pixels = torch.from_numpy(np.asarray(Image.open(path)).transpose(2, 0, 1).copy())
    with strategy.evaluation_weights(), torch.no_grad():
        logits = strategy.model(pixels[None])[0]
    by_name = dict(zip(CLASSES, logits.tolist()))
    assert [p.rank for p in found] == [1, 2, 3, 4]
    assert {p.name: p.score for p in found} == pytest.approx(by_name, abs=1e-5)
    assert [p.name for p in found] == sorted(by_name, key=by_name.get, reverse=True)


def test_a_run_that_is_not_finished_tells_the_classes_it_has_seen(data, tmp_path):
    class Enough(Exception):
        pass

    def stop(current):
        raise Enough

    options = {"steps": 2}
    whole = RunConfig(
        method="ham", benchmark="photos", n_tasks=2, preset="smoke", head="ridge", options=options
    )
    resources = Resources(device="cpu", data_root=data)
    with pytest.raises(Enough):
        run(whole, resources, out=tmp_path / "run", show=False, after_task=stop)
    found = predict(tmp_path / "run", [data / "photos" / "test" / "ant"], top=4, device="cpu")
    seen = set(load_strategy(tmp_path / "run").model.head.classes.tolist())
    assert {p.name for p in found} == {CLASSES[label] for label in seen} and len(seen) == 2
    assert main(["export", str(tmp_path / "run"), "--to", str(tmp_path / "card")]) == 0
    card = (tmp_path / "card" / "README.md").read_text()
    assert "# ham on photos, the first 1 of 2 tasks" in card and "in 2 tasks" not in card


def test_the_command_writes_a_row_for_each_image_and_rank(ham, data, tmp_path, capsys):
    pattern = str(data / "photos" / "test" / "*" / "[01].png")
    words = ["predict", str(ham), pattern, "--top", "2", "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "8/8" in printed.err
    assert main([*words, "--out", str(tmp_path / "new" / "predictions.csv")]) == 0
    text = (tmp_path / "new" / "predictions.csv").read_text()
    assert text == printed.out
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 16 and [row["rank"] for row in rows[:4]] == ["1", "2", "1", "2"]
    assert {row["class"] for row in rows} <= {*CLASSES}
    assert all(float(a["score"]) >= float(b["score"]) for a, b in zip(rows[::2], rows[1::2]))


def test_images_are_found_once_in_folders_patterns_and_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/2.png", "a/1.JPG", "a/notes.txt", "a/.hidden/3.png", "b [1].png", "c/d/4.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_images(["c", "a/*.png", "a", "b [1].png"])
    assert [str(path) for path in found] == ["c/d/4.webp", "a/2.png", "a/1.JPG", "b [1].png"]
    assert [str(path) for path in find_images(["**/*.webp"])] == ["c/d/4.webp"]
    for missing in ("nothing.png", "*.gif", "a/.hidden/4.png"):
        with pytest.raises(DataError, match="there is no image"):
            find_images(["a", missing])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no image empty"):
        find_images(["empty"])


def test_a_folder_that_cannot_be_read_is_named_and_not_left_out(tmp_path, monkeypatch):
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"b cannot be read \(Permission denied\)"):
        find_images([str(tmp_path)])


def test_what_does_not_fit_is_said_in_one_line(ham, data, tmp_path):
    photo = data / "photos" / "test" / "ant" / "0.png"
    with pytest.raises(UnknownNameError, match="head must be one of linear, ncm, ridge"):
        predict(ham, [photo], head="lda")
    with pytest.raises(OptionError, match="top must be at least 1"):
        predict(ham, [photo], top=0)
    with pytest.raises(OptionError, match="batch_size must be at least 1"):
        predict(ham, [photo], batch_size=0)
    with pytest.raises(StateError, match="lacks"):
        predict(tmp_path / "nowhere", [photo])
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:60])
    with pytest.raises(DataError, match=r"broken\.png is corrupt"):
        predict(ham, [photo, broken], device="cpu")


def test_a_run_from_before_class_names_were_kept_says_so(ham, data, tmp_path):
    tree = load_tree(ham / "state")
    del tree["class_names"], tree["image_side"]
    save_tree(tmp_path / "old" / "state", {k: v for k, v in tree.items() if k != "strategy"})
    with pytest.raises(StateError, match="before runs kept class names"):
        predict(tmp_path / "old", [data / "photos" / "test"])


def test_a_method_that_is_told_the_task_cannot_predict(data, tmp_path):
    trained(data, tmp_path / "run", method="independent")
    with pytest.raises(HamError, match="told the task of each image"):
        predict(tmp_path / "run", [data / "photos" / "test"])
