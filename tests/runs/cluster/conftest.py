"""A made-up ``squeue`` and ``scancel``, and a real cluster of one node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "slurm" / "cluster.sh"


class MadeUpQueue:
    """What ``squeue`` prints, and what ``scancel`` was asked."""

    def __init__(self, folder):
        self.shown, self.asked = folder / "shown", folder / "asked"
        for name, does in (("squeue", f"cat {self.shown}"), ("scancel", "true")):
            script = folder / name
            script.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.asked}\n{does}\n')
            script.chmod(0o755)
        self.show()

    def show(self, *lines):
        self.shown.write_text("".join(f"{line}\n" for line in lines))

    def calls(self):
        return self.asked.read_text().splitlines() if self.asked.exists() else []


@pytest.fixture
def queue(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return MadeUpQueue(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start Slurm; gives a function that calls ``cluster.sh``."""
    pytest.importorskip("submitit")
    if os.getuid() != 0 or not shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("needs root and Debian's slurmctld, slurmd, slurm-client and munge")
    folder = tmp_path_factory.mktemp("slurm")

    def call(command):
        subprocess.run([CLUSTER, command, folder], check=True, timeout=120)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            call("start")
            yield call
        finally:
            call("stop")
