"""The README's Python blocks and the way to one's own images run as printed."""

from __future__ import annotations

import copy
import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from photos import CLASSES, draw_photos

from avalanche_ham import FinalMergingPlugin

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("backbone", ["tiny", pytest.param("embedded", marks=pytest.mark.slow)])
def test_the_python_blocks_run_as_printed(backbone, capsys, monkeypatch, tmp_path):
    """As printed with the embedded backbone; in passing, on the tiny random one."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 4 and 'create_model("embedded"' in blocks[0]
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    first = blocks[0].replace('"embedded"', f'"{backbone}"')
    exec(compile(first, "README.md, block 1", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "groups: [0, 1," in printed
    accuracy = float(re.search(r"accuracy: ([0-9.]+)", printed)[1])
    assert accuracy > 0.5 or backbone == "tiny"  # chance is 0.1, random weights are no better
    second = blocks[1].replace('"embedded"', f'"{backbone}"')
    exec(compile(second, "README.md, block 2", "exec"), namespace)
    assert namespace["plus"].contrast == 0.1 and "HAM+:" in capsys.readouterr().out
    assert namespace["model"].readout.follows
    exec(compile(blocks[2], "README.md, block 3", "exec"), namespace)
    assert namespace["grouping"].memory["groups"] == [0]
    twin = copy.deepcopy(namespace["naive"])
    (merging,) = (p for p in twin.plugins if isinstance(p, FinalMergingPlugin))
    assert merging.update.args[0] is twin.model.adapters  # the copy's own
    exec(compile(blocks[3], "README.md, block 4", "exec"), namespace)
    assert namespace["readout"].predict(namespace["features"]).shape == (100,)
    assert int((namespace["head"].counts > 0).sum()) == 10


def own_images() -> list[str]:
    """The commands of the section on images of one's own."""
    section = README.read_text().partition("## Your own images\n")[2].partition("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


@pytest.mark.slow
@pytest.mark.parametrize("installed", [False, True])
def test_from_installing_to_predictions_on_images_of_ones_own(installed, tmp_path, monkeypatch):
    """As printed by an installed package; in passing, by this one with the preset smoke."""
    install, *commands = own_images()
    assert install == "pip install ." and len(commands) <= 3
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    home = draw_photos(tmp_path / "home" / "photos").parent
    (home / "photos" / "test").rename(home / "new_photos")
    (home / "photos" / "test").symlink_to(home / "new_photos")
    path = str(README.parent)
    if installed:
        path = str(tmp_path / "site")
        source = tmp_path / "source"  # a build leaves its folders beside the sources
        source.mkdir()
        wanted = ("avalanche_ham", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
        subprocess.run(["cp", "-r", *(README.parent / name for name in wanted), source], check=True)
        offline = ["--no-deps", "--no-build-isolation", "--target", path]
        pip = [sys.executable, "-m", *shlex.split(install), *offline]
        subprocess.run(pip, cwd=source, check=True)
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "ham"
        if not installed and words[0] == "run":
            words += ["--preset", "smoke"]
        subprocess.run(
            [sys.executable, "-m", "avalanche_ham", *words],
            cwd=home,
            env={**os.environ, "PYTHONPATH": path},
            check=True,
        )
    rows = list(csv.DictReader((home / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 24 * 3 and {row["class"] for row in rows} <= {*CLASSES}
    firsts = [row for row in rows if row["rank"] == "1"]
    right = sum(Path(row["image"]).parent.name == row["class"] for row in firsts)
    assert right > 12 or not installed  # chance is 6; random weights are hardly better
