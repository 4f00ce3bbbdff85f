"""The commands that faults are put into, each in a fork of this process, and what they leave."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from PIL import Image
from safetensors.torch import load_file

from avalanche_ham.cli.main import main
from avalanche_ham.runs import execute
from avalanche_ham.runs.records import read_records
from faults.layer import Layer

SMALL = ("--preset", "smoke", "--device", "cpu", "--threads", "1", "--benchmark", "pictures")
SECONDS = 120  # after which a command hangs
COMPARED = ("accuracy_matrix", "accuracy_task_known", "groups", "stored_parameters", "right")


def words_of(name: str, place: Path) -> list[str]:
    """Give the command line of one of ``NAMES`` on a folder that ``prepare`` has made."""
    data = (*SMALL, "--data-root", str(place / "data"))
    run = ("run", "--method", "ham", "--tasks", "2", *data, "--out", str(place / "run"), "--resume")
    table = ("table", "methods", "--run", *data, "--tasks", "2", "--seeds", "1")
    table += ("--methods", "ham,ncm", "--records", str(place / "records"))
    found: Mapping[str, tuple[str, ...]] = {
        "run": run,
        "cache": (*run, "--method", "ncm"),
        "table": (*table, "--jobs", "0", "--out", str(place / "table.md")),
        "table --jobs 2": (*table, "--jobs", "2", "--out", str(place / "table.md")),
        "export": ("export", str(place / "made"), "--to", str(place / "exported")),
        "collect": ("collect", str(place / "made"), "--to", str(place / "collected")),
    }
    return list(found[name])


NAMES = ("run", "cache", "table", "table --jobs 2", "export", "collect")


class Result(NamedTuple):
    """How a command ended: exit code (below 0: the signal), standard error, injections."""

    code: int
    said: str
    injected: str


def prepare(place: Path) -> None:
    """Make images, and a finished run to export and to collect."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 8, 8, 3), dtype=np.uint8)
    for part, label, k in np.ndindex(pixels.shape[:3]):
        path = place / "data" / "pictures" / ("train", "test")[part] / "abcd"[label] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[part, label, k]).save(path)
    out = {str(place / "run"): str(place / "made")}
    done = command(place, [out.get(word, word) for word in words_of("run", place)])
    assert done.code == 0, done.said


def copy(place: Path, to: Path, *, warm: bool = True) -> Path:
    """Give a folder of its own to a fault: images, finished run and, if warm, the cache."""
    ignore = None if warm else shutil.ignore_patterns("cache")
    shutil.copytree(place, to, ignore=ignore, copy_function=os.link)
    return to


def command(place: Path, words: list[str], layer: Layer | None = None) -> Result:
    """Run a command in a fork of this process, with the layer in place."""
    said = place.with_name(place.name + ".stderr")
    _, status = os.waitpid(_started(place, words, layer, said), 0)
    code = os.waitstatus_to_exitcode(status)
    log = layer.log if layer is not None else None
    injected = log.read_text() if log is not None and log.exists() else ""
    return Result(code, said.read_text(errors="replace"), injected)


def killed(place: Path, words: list[str], after: float) -> bool:
    """Kill the process of a command, not those that it has started, after so many seconds.

    Returns:
        Whether it was alive then. Those that it started have ended by now, too.
    """
    child = _started(place, words, None, place.with_name(place.name + ".stderr"))
    time.sleep(after)
    workers = psutil.Process(child).children(recursive=True)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert not psutil.wait_procs(workers, timeout=SECONDS)[1], "orphans stay"
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def timed(place: Path, words: list[str]) -> float:
    """Give the seconds that a command takes."""
    start = time.monotonic()
    assert command(place, words).code == 0
    return time.monotonic() - start


def _started(place: Path, words: list[str], layer: Layer | None, said: Path) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _be(place, words, layer, said)
    return child


def _be(place: Path, words: list[str], layer: Layer | None, said: Path) -> None:
    """Be the command; never comes back."""
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        os.environ["AVALANCHE_HAM_CACHE"] = str(place / "cache")
        execute._process_context = lambda: multiprocessing.get_context("fork")
        if layer is not None:
            layer.install()
        code = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        if layer is not None and layer.call is None:
            _leave(layer.log, json.dumps(layer.counts))
        os._exit(code)


def _leave(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(handle, text.encode())
    os.close(handle)


def left_by(name: str, place: Path) -> Any:
    """Give what a command leaves, as far as two runs of it must agree."""
    if name == "export":
        exported = {p.name: p for p in sorted((place / "exported").iterdir())}
        tensors = {
            file: {key: tensor.tolist() for key, tensor in load_file(path).items()}
            for file, path in exported.items()
            if file.endswith(".safetensors")
        }
        return sorted(exported), tensors
    folder = {"collect": "collected", "run": "run", "cache": "run"}.get(name, "records")
    records = [[r["method"], *(r[key] for key in COMPARED)] for r in read_records(place / folder)]
    return sorted(records, key=str)
