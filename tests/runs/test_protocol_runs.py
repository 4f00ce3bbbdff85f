"""Runs on a mixture of data sets, on domains, and in an order from a file, end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from avalanche_ham.cli.main import main
from avalanche_ham.runs.records import read_records

FEW = ["--preset", "smoke", "--device", "cpu", "--head", "linear,ncm"]


def write(root, classes, seed):
    """Pictures that their class tells: noise about a grey value of its own."""
    draw = np.random.default_rng(seed)
    for part, count in (("train", 6), ("test", 3)):
        for value, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 60, (12, 12, 3)) + 60 * value
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{i}.png")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "pets", ["cat", "dog", "emu"], 1)
    write(tmp_path / "signs", ["go", "stop"], 2)
    for seed, domain in enumerate(("art", "photo")):
        write(tmp_path / "office" / domain, ["chair", "desk", "lamp"], seed)
    return tmp_path


def run(root, *words):
    out = root / "out"
    assert main(["run", "--data-root", str(root), "--out", str(out), *FEW, *words]) == 0
    return read_records(out / "records.jsonl")


@pytest.mark.parametrize("method", ["ham", "joint"])
def test_a_mixture_runs(root, method):
    words = ["--benchmark", "pets+signs", "--tasks", "4", "--size", "16"]
    record = run(root, "--method", method, *words)[0]
    assert record["benchmark"] == "pets+signs" and record["n_tasks"] == 4
    assert sum(record["test_images"]) == 15
    assert record["hyperparameters"]["size"] == 16


@pytest.mark.parametrize("method", ["ham", "lora", "joint"])
def test_domains_run_and_class_means_take_from_all_of_them(root, method):
    record = run(root, "--method", method, "--benchmark", "office", "--tasks", "2")[1]
    assert record["benchmark"] == "office" and record["test_images"] == [9, 9]
    assert record["aa"] > 60  # chance is a third


def test_an_order_from_a_file_beside_the_configuration(root, capsys):
    options, order = root / "run.toml", root / "order.yaml"
    options.write_text('method = "frozen"\nbenchmark = "pets"\ntasks = 3\n')
    order.write_text("class_order: [2, 0, 1]\n")
    record = run(root, "--config", str(options), "--config", str(order))[0]
    assert record["hyperparameters"]["class_order"] == [2, 0, 1]
    order.write_text(json.dumps({"class_order": [2, 0]}))
    words = ["run", "--data-root", str(root), *FEW, "--config", str(options)]
    assert main([*words, "--config", str(order)]) == 2
    assert (
        "class_order must be each label from 0 to 2, or each class name, once"
        in capsys.readouterr().err
    )


def test_an_unknown_part_of_a_mixture_is_named(root, capsys):
    assert main(["run", "--data-root", str(root), "--benchmark", "pets+sings"]) == 2
    assert "but got 'sings'" in capsys.readouterr().err
