"""Where a result comes from is in its record, and a run that moved says so."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMOKE

from avalanche_ham import __version__
from avalanche_ham.errors import StateError
from avalanche_ham.runs import provenance as module
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.provenance import commit, moved, provenance
from avalanche_ham.runs.runner import run

CPU = Resources(device="cpu")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Pretend that the package lies in another folder; gives that folder."""
    monkeypatch.setattr(module, "__file__", str(tmp_path / "avalanche_ham" / "runs" / "x.py"))
    (tmp_path / "avalanche_ham" / "runs").mkdir(parents=True)
    commit.cache_clear()
    yield tmp_path
    commit.cache_clear()


def test_versions_name_what_a_result_may_depend_on():
    found = provenance(torch.device("cpu"), "fp32")
    assert found["versions"]["avalanche-ham"] == __version__
    assert {"python", "avalanche-lib", "torch", "timm", "peft"} <= set(found["versions"])
    assert found["date"].endswith("+00:00") and found["processor"]
    assert (found["device"], found["threads"]) == ("cpu", torch.get_num_threads())


def test_a_checkout_tells_its_commit_and_whether_it_is_clean(elsewhere):
    git = ("git", "-C", str(elsewhere), "-c", "user.name=a", "-c", "user.email=a@b")
    code = elsewhere / "avalanche_ham" / "code.py"
    code.write_text("1")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run((*git, *words), check=True)
    found = commit()
    assert len(found["commit"]) == 40 and found["clean"] is True
    code.write_text("2")
    commit.cache_clear()
    assert commit() == {**found, "clean": False}


def test_outside_a_checkout_a_variable_may_name_the_commit(elsewhere, monkeypatch):
    monkeypatch.delenv("AVALANCHE_HAM_COMMIT", raising=False)
    assert commit() == {"commit": None, "clean": None}
    commit.cache_clear()
    monkeypatch.setenv("AVALANCHE_HAM_COMMIT", "abc")
    assert commit() == {"commit": "abc", "clean": None}


def test_a_run_continued_with_other_libraries_lists_its_segments(tmp_path, monkeypatch):
    def cut(current):
        raise KeyboardInterrupt

    config = replace(SMOKE, n_tasks=3)
    with pytest.raises(KeyboardInterrupt):
        run(config, CPU, out=tmp_path, show=False, after_task=cut)
    monkeypatch.setattr(module, "versions", lambda: {"torch": "99"})
    record = run(config, CPU, out=tmp_path, resume=True, show=False)
    first, second = record["segments"]
    assert (first["first_task"], second["first_task"]) == (0, 1)
    assert first["versions"] != second["versions"] == record["versions"] == {"torch": "99"}


def test_a_run_in_one_place_has_no_segments(tmp_path):
    assert run(SMOKE, CPU, show=False)["segments"] == []


def test_going_on_elsewhere_is_said_in_one_line_and_stands_in_the_record(
    tmp_path, monkeypatch, capsys
):
    class Cut(Exception):
        pass

    def cut(current):
        raise Cut

    with pytest.raises(Cut):
        run(SMOKE, CPU, out=tmp_path, show=False, after_task=cut)
    versions = module.versions()
    monkeypatch.setattr(module, "versions", lambda: {**versions, "torch": "9.9"})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    record = run(SMOKE, CPU, out=tmp_path, resume=True, show=False)
    (line,) = capsys.readouterr().err.splitlines()
    threads = record["segments"][0]["threads"]
    assert f"going on with other threads ({threads} there, 7 here), torch (" in line
    assert "there, 9.9 here): accuracies may differ" in line
    assert [part["stem_cache"] for part in record["segments"]] == [False, False]


def test_going_on_at_the_same_place_says_nothing():
    here = provenance(torch.device("cpu"), "fp32")
    assert moved({**here, "date": "earlier", "first_task": 3}, here) == ""
    assert moved({**here, "stem_cache": True}, {**here, "stem_cache": False}) == (
        "stem_cache (yes there, no here)"
    )
    assert moved(here, {**here, "stem_cache": False}) == ""  # not known of a state before


def test_images_changed_between_kill_and_resume_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 8, 8, 3), dtype=np.uint8)
    for part, label, k in np.ndindex(pixels.shape[:3]):
        path = tmp_path / "data" / ("train", "test")[part] / "ab"[label] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[part, label, k]).save(path)
    config = replace(SMOKE, benchmark="image_folder", n_tasks=2)
    resources = replace(CPU, data_root=str(tmp_path / "data"))

    def cut(current):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, resources, out=tmp_path / "out", show=False, after_task=cut)
    Image.fromarray(255 - pixels[0, 0, 0]).save(tmp_path / "data" / "train" / "a" / "0.png")
    with pytest.raises(StateError, match="holds another run: images_digest"):
        run(config, resources, out=tmp_path / "out", resume=True, show=False)
