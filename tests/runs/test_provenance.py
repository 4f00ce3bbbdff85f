"""Where a result comes from is in its record, and a run that moved says so."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import torch
from toys import SMOKE

from avalanche_ham import __version__
from avalanche_ham.runs import provenance as module
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.provenance import commit, provenance
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
