"""Odd input by the hundred: what a command or a call is given, none of which it can take."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SMOKE = ("run", "--preset", "smoke", "--device", "cpu", "--tasks", "2")
NUMBERS = (
    "",
    "x",
    "nan",
    "inf",
    "-inf",
    "-1",
    "1e400",
    "0x10",
    "9" * 400,
    "٣٫٥",
    "1,2",
    "\x00",
    "\udcff",
)
NUMERIC = (
    *("tasks", "seed", "threads", "rank", "steps", "epochs", "batch-size", "eval-batch-size", "lr"),
    *("head-lr", "keep", "max-groups", "similarity-threshold", "train-per-class", "holdout"),
)
NAMED = (
    "method",
    "benchmark",
    "preset",
    "backbone",
    "head",
    "device",
    "merge",
    "scope",
    "precision",
)
NAMES = (
    "",
    " ",
    "none such",
    "../../etc/passwd",
    "\x00",
    "\udcff",
    "a" * 5000,
    "ham,ham,",
    "%s%n",
    "'",
)
FINE = ("similarity-threshold", "-1")  # any cosine is enough


def words() -> Iterator[tuple[str, ...]]:
    """Command lines whose values no option can take."""
    for option, value in itertools.product(NUMERIC, NUMBERS):
        if (option, value) != FINE:
            yield (*SMOKE, f"--{option}={value}")
    for option, value in itertools.product(NAMED, NAMES):
        yield (*SMOKE, f"--{option}={value}")
    yield ("run", "--config")
    yield ("run", "--resume", "--preset", "smoke")
    yield ("table",)
    yield ("table", "17", "--records", ".")
    yield ("table", "methods")
    yield ("figure", "methods", "--records", ".")
    yield ("export", ".")
    yield ("collect", ".")
    yield ("\udcff",)
    for option, value in (
        *(("seeds", text) for text in ("", "x", "1,,2", "-1", "9" * 30, "1.5", "\x00")),
        *(("tasks", text) for text in ("", "x", "0", "-3", "11,99999", "1.5", "9" * 30)),
        *(("jobs", text) for text in ("x", "-1", "99999", "1.5", "9" * 30)),
        *(("methods", text) for text in ("", "hamm", "ham,,", "\x00", "a" * 300)),
        *(("benchmark", text) for text in ("", "digit", "digits,\x00", "a" * 300)),
        *(("head", text) for text in ("", "rigde", "linear,\x00")),
        *(("format", text) for text in ("", "docx", "\x00")),
        *(("preset", text) for text in ("", "papr", "\x00")),
        *(("out", text) for text in ("/dev/null/x", "\x00")),
    ):
        yield ("table", "methods", "--run", "--records", "RECORDS", f"--{option}={value}")


CONFIGS = {  # name -> content of a file that --config must refuse
    "empty.toml.txt": b"",
    "list.yaml": b"- 1\n- 2\n",
    "text.yaml": b"hello",
    "null.yaml": b"",
    "nul.toml": b"lr = 1\x00",
    "latin.toml": 'backbone = "é"'.encode("latin-1"),
    "utf16.toml": "lr = 1.0".encode("utf-16"),
    "open.toml": b'lr = "',
    "deep.toml": b"a = " + b"[" * 5000 + b"]" * 5000,
    "deep.yaml": b"[" * 5000,
    "twice.toml": b"lr = 1\nlr = 2\n",
    "bomb.yaml": b"a: &a [x,x]\nb: &b [*a,*a]\nlr: [*b,*b]\n",
    "cycle.yaml": b"lr: &a [*a]\n",
    "tag.yaml": b"lr: !!python/object/apply:os.getcwd []\n",
    "keys.yaml": b"1: 2\n",
    "yes.yaml": b"yes: 2\n",
    "date.yaml": b"lr: 2001-01-01\n",
    "nested.yaml": b"lr: {a: 1}\n",
    "zero_steps.toml": b"steps = 0\n",
    "zero_epochs.toml": b"epochs = 0\n",
    "minus_epochs.yaml": b"epochs: -1\n",
    "zero_rate.toml": b"lr = 0\n",
    "zero_head_rate.toml": b"head_lr = 0.0\n",
    "unknown.toml": b"no-such-option = 1\n",
    "switch.toml": b'resume = "maybe"\n',
    "inf.toml": b"lr = inf\n",
    "nan.yaml": b"lr: .nan\n",
    "huge.toml": b"steps = " + b"9" * 5000 + b"\n",
    "huge_hex.yaml": b"steps: 0x" + b"f" * 9000 + b"\n",
    "surrogate.yaml": b'backbone: "\\ud800"\n',
    "giant.toml": b"#" * (2**20 + 1),
}


def write_configs(folder: Path) -> list[Path]:
    """Write the files, and put a pipe, a device and a folder in place of others."""
    for name, content in CONFIGS.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.toml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "folder.toml").mkdir()
    (folder / "dangling.toml").symlink_to(folder / "nowhere")
    return sorted(folder.iterdir())


def write_weights(folder: Path) -> list[Path]:
    """Write files that hold no weights."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    contents = {
        "empty.pth": b"",
        "text.pth": b"hello",
        "page.pth": b"<!DOCTYPE html>",
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1\n",
        "pickle.pth": b"\x80\x04}.",
        "zip.pth": b"PK\x03\x04" + b"x" * 90,
        "short.safetensors": len(header).to_bytes(8, "little") + header,
        "long.safetensors": (2**60).to_bytes(8, "little") + b"{}",
        "no_tensors.safetensors": (2).to_bytes(8, "little") + b"{}",
        "other.safetensors": len(header).to_bytes(8, "little") + header + bytes(36),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.pth")
    (folder / "zero.pth").symlink_to("/dev/zero")
    (folder / "folder.pth").mkdir()
    return sorted(folder.iterdir())


def write_records(folder: Path) -> list[Path]:
    """Write folders whose records no table can read."""
    contents = {
        "text": b"hello\n",
        "list": b"[]\n",
        "null": b"null\n",
        "half": b'{"method": "ham"',
        "nan": b'{"aa": NaN}\n',
        "latin": '{"method": "é"}'.encode("latin-1"),
        "deep": b"[" * 100_000,
        "number": b"9" * 10_000,
        "nul": b"\x00" * 100,
        "blank": b"\n\n",
    }
    for name, content in contents.items():
        (folder / name).mkdir()
        (folder / name / "records.jsonl").write_bytes(content)
    for name, make in {
        "pipe": os.mkfifo,
        "zero": lambda path: path.symlink_to("/dev/zero"),
        "dangling": lambda path: path.symlink_to(folder / "nowhere"),
    }.items():
        (folder / name).mkdir()
        make(folder / name / "records.jsonl")
    (folder / "giant").mkdir()
    with open(folder / "giant" / "records.jsonl", "wb") as file:
        file.truncate(10 * 2**30)  # without a line's end, and without taking room
    return sorted(folder.iterdir())


def write_images(folder: Path) -> list[Path]:
    """Write image folders with one thing wrong each."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)

    def spoil(name: str, change) -> None:
        for part, label, k in itertools.product(("train", "test"), ("cat", "dog"), range(2)):
            path = folder / name / part / label / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        path.unlink()
        change(path)

    whole = folder / "whole.png"
    Image.fromarray(pixels).save(whole)
    data = whole.read_bytes()
    whole.unlink()
    contents = {
        "empty": b"",
        "text": b"hello",
        "half": data[: len(data) // 2],
        "header": data[:33],
        "nul": b"\x00" * 1000,
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "bomb": data[:16] + (2**31 - 1).to_bytes(4, "big") * 2 + data[24:],
    }
    for name, content in contents.items():
        spoil(name, lambda path, content=content: path.write_bytes(content))
    spoil("pipe", os.mkfifo)
    spoil("zero", lambda path: path.symlink_to("/dev/zero"))
    spoil("dangling", lambda path: path.symlink_to(folder / "nowhere"))
    spoil("loop", lambda path: path.symlink_to(path))
    spoil("folder", lambda path: path.mkdir())

    def giant(path: Path) -> None:
        with open(path, "wb") as file:
            file.truncate(2**40)

    spoil("giant", giant)
    spoil("label", lambda path: (path.parents[2] / "train" / "d\udcffg").mkdir())
    return sorted(folder.iterdir())


def commands(folder: Path) -> Iterator[tuple[str, ...]]:
    """All of it as command lines; ``folder`` holds the files."""
    places = {}
    for kind, write in {
        "configs": write_configs,
        "weights": write_weights,
        "records": write_records,
        "images": write_images,
    }.items():
        (folder / kind).mkdir()
        places[kind] = write(folder / kind)
    yield from words()
    for path in places["configs"]:
        yield (*SMOKE, "--config", str(path))
        yield ("table", "methods", "--records", "RECORDS", "--run", "--config", str(path))
    for path in places["weights"]:
        yield (*SMOKE, "--weights", str(path))
    for path in places["records"]:
        yield ("table", "methods", "--records", str(path))
        yield ("collect", str(path), "--to", "OUT")
    for path in places["images"]:
        yield (*SMOKE, "--benchmark", "image_folder", "--data-root", str(path))
