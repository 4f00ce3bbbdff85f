"""What a release needs: one version, a citation, a workflow, and a wheel of the package alone."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import avalanche_ham

ROOT = Path(__file__).parents[1]
CI = ROOT / ".ci"
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")


def test_the_version_stands_in_one_place():
    assert CONFIG["metadata"]["version"] == "attr: avalanche_ham.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", avalanche_ham.__version__)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no repository")
    sources = [p for p in listed.stdout.split() if p.endswith((".py", ".cfg", ".toml", ".cff"))]
    quoted = re.compile(rf"""version\S* *[=:] *["']?{re.escape(avalanche_ham.__version__)}\b""")
    holders = [path for path in sources if quoted.search((ROOT / path).read_text("utf-8"))]
    assert holders == ["avalanche_ham/__init__.py"]
    assert f"## {avalanche_ham.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_citation_names_the_paper_and_holds_what_the_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == CONFIG["metadata"]["license"]
    paper = citation["preferred-citation"]
    assert paper["url"] == "https://arxiv.org/abs/2509.13211" and len(paper["authors"]) == 5


def test_the_workflow_calls_the_scripts_on_every_python_that_is_allowed():
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))["jobs"]
    versions = jobs["run"]["strategy"]["matrix"]["python"]
    assert versions == ["3.10", "3.11", "3.12", "3.13"]
    assert CONFIG["options"]["python_requires"] == f">={versions[0]}"
    assert [s["run"] for s in jobs["run"]["steps"] if "run" in s] == [".ci/run"]
    for part in jobs["once"]["strategy"]["matrix"]["include"]:
        assert (ROOT / part["command"]).is_file()


def test_every_script_is_part_of_the_full_one_and_can_be_read_by_bash():
    parts = {path.name for path in CI.iterdir()} - {"full", "environment"}
    called = re.findall(r'^"\$here/(\w+)"', (CI / "full").read_text(), flags=re.MULTILINE)
    assert set(called) == parts
    for path in CI.iterdir():
        assert subprocess.run(["bash", "-n", path]).returncode == 0
        assert bool(path.stat().st_mode & 0o111) == (path.name != "environment")


def test_every_dependency_has_a_lower_bound_that_can_be_installed():
    """``.ci/lowest`` turns each ``>=`` into ``==``."""
    needed = CONFIG["options"]["install_requires"] + CONFIG["options.extras_require"]["test"]
    for line in filter(None, needed.splitlines()):
        assert re.fullmatch(r"[\w-]+ >= [\d.]+(; python_version < .*)?", line), line


@pytest.mark.slow
def test_the_wheel_holds_the_package_alone_with_its_weights_and_types(tmp_path):
    pytest.importorskip("setuptools")
    code = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"
    source = tmp_path / "source"  # a build leaves its folders beside the sources
    wanted = ("avalanche_ham", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tests")
    source.mkdir()
    subprocess.run(["cp", "-r", *(ROOT / name for name in wanted), source], check=True)
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=source, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    folder = f"avalanche_ham-{avalanche_ham.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"avalanche_ham", folder}
    assert {"avalanche_ham/py.typed", "avalanche_ham/backbones/embedded.safetensors"} <= {*names}
