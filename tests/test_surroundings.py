"""The package works without a home folder and under the plainest locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from avalanche_ham import _avalanche_home

ROOT = Path(__file__).resolve().parents[1]
RUN = ("-m", "avalanche_ham", "run", "--method", "ham", "--tasks", "2", "--preset", "smoke")
RUN += ("--backbone", "tiny")


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter on the package, with other environment variables."""
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=environment.get("HERE", ROOT),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


@pytest.fixture(params=["missing", "a file"])
def home(request, tmp_path):
    """A home folder that is not there, and one that even root cannot write."""
    place = tmp_path / "home"
    if request.param == "a file":
        place.write_text("")
    return str(place)


def test_the_list_of_methods_needs_no_home_folder(home):
    done = python("-m", "avalanche_ham", "list", "methods", HOME=home)
    assert done.returncode == 0 and "inflora" in done.stdout, done.stderr


def test_avalanche_keeps_its_own_place_for_data_where_it_cannot_write_it(tmp_path):
    home = tmp_path / "home"
    home.write_text("")
    code = f"""
import os, sys, avalanche_ham
print(os.environ["HOME"], "USERPROFILE" in os.environ)
print(sys.modules["{_avalanche_home.MODULE}"].default_dataset_location("cifar"))
"""
    done = python("-c", code, HOME=str(home))
    expected = [str(home), "False", f"{home}/.avalanche/data/cifar"]
    assert done.stdout.split() == expected, done.stderr


@pytest.mark.parametrize(
    ("content", "is_left_alone"),
    [(None, True), ('{"dataset_location": "d"}', True), ("", False), ("[1]", False), ("3", False)],
)
def test_avalanche_is_left_alone_where_it_can_write_or_read_its_file(
    content, is_left_alone, tmp_path
):
    config = tmp_path / ".avalanche" / "config.json"
    if content is not None:
        config.parent.mkdir()
        config.write_text(content)
    code = f"import sys, avalanche_ham; print('{_avalanche_home.MODULE}' not in sys.modules)"
    assert python("-c", code, HOME=str(tmp_path)).stdout == f"{is_left_alone}\n"
    assert config.exists() is (content is not None)


@pytest.mark.slow
def test_a_run_needs_no_home_folder(home, tmp_path):
    words = [
        "run",
        "--method",
        "ham",
        "--benchmark",
        "digits",
        "--tasks",
        "2",
        "--preset",
        "smoke",
        "--backbone",
        "tiny",
    ]
    out = tmp_path / "run"
    done = python("-m", "avalanche_ham", *words, "--out", str(out), HOME=home)
    assert done.returncode == 0, done.stderr
    assert (out / "records.jsonl").is_file()


PLAINEST = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
READ = """
import json, sys
from pathlib import Path
from avalanche_ham.adapters.peft_format import load_peft
from avalanche_ham.benchmarks._image_files import scan_classes
from avalanche_ham.cli.config_file import read_config
from avalanche_ham.errors import DataError
classes = scan_classes(Path("data")).classes
values = [read_config(Path(f"{mark}.{kind}")) for mark in "01" for kind in ("toml", "yaml")]
for mark in "01":
    try:
        load_peft(Path(mark))
    except DataError as error:
        values.append(str(error))
print(sys.getfilesystemencoding(), json.dumps([classes, values]))
"""


@pytest.mark.slow
def test_files_are_utf_8_whatever_the_locale_with_a_byte_order_mark_or_without(tmp_path):
    for name in ("café", "Ελλάδα"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").touch()
    config = '{"base_model_name_or_path": "café", "peft_type": "IA3"}'
    for number, mark in enumerate([b"", b"\xef\xbb\xbf"]):
        (tmp_path / f"{number}.toml").write_bytes(mark + 'data-root = "café"\n'.encode())
        (tmp_path / f"{number}.yaml").write_bytes(mark + "data-root: café\n".encode())
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "adapter_config.json").write_bytes(mark + config.encode())
        save_file({"x": torch.zeros(1)}, tmp_path / str(number) / "adapter_model.safetensors")
    done = python("-c", READ, HERE=str(tmp_path), **PLAINEST)
    encoding, _, found = done.stdout.partition(" ")
    assert encoding == "ascii" or sys.platform != "linux", "this locale proves nothing"
    refused = [f"{number}: only plain LoRA can be imported" for number in (0, 1)]
    expected = [{"data-root": "café"}] * 4 + refused
    assert json.loads(found) == [["café", "Ελλάδα"], expected], done.stderr


@pytest.mark.slow
def test_a_run_under_the_plainest_locale_is_the_same_run(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 8, 8, 3), dtype=np.uint8)
    names = ("été", "ñandú")
    for part, label, image in np.ndindex(noise.shape[:3]):
        folder = tmp_path / "données" / ("train", "test")[part] / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[part, label, image]).save(folder / f"ö{image}.png")
    words = [
        "run",
        "--method",
        "ham",
        "--benchmark",
        "image_folder",
        "--data-root",
        "données",
        "--tasks",
        "2",
    ]
    words += ["--preset", "smoke", "--backbone", "tiny", "--out"]
    records = []
    for out, environment in (("utf8", {"LC_ALL": "C.UTF-8"}), ("c", {**PLAINEST})):
        cache = {"AVALANCHE_HAM_CACHE": str(tmp_path / f"cache_{out}")}
        done = python(
            "-m", "avalanche_ham", *words, out, HERE=str(tmp_path), **environment, **cache
        )
        assert done.returncode == 0, done.stderr
        records.append(json.loads((tmp_path / out / "records.jsonl").read_bytes()))
    for key in ("benchmark", "class_order_hash", "accuracy_matrix", "images_digest"):
        assert records[0][key] == records[1][key]
