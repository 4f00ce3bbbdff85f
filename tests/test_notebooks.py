"""The notebooks run as they stand, and show what they say."""

import ast
import functools
import os
import re
import shutil
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
STEPS = "01_ham_step_by_step.ipynb"
RESULTS = "02_reading_the_results.ipynb"
OWN_DATA = "03_bring_your_own_data.ipynb"
DRIFT = "04_following_the_drift.ipynb"
MACHINE_PATH = re.compile(r"/(home|root|tmp|usr|Users|work)/|site-packages|[A-Z]:\\\\")


@functools.cache
def read(name):
    """The notebook as it is committed."""
    return nbformat.read(FOLDER / name, as_version=4)


def run(name, folder):
    """The notebook after all its cells have run, with a folder as the current one."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=resources
    ).execute()
    return notebook


@functools.cache
def executed(name):
    """The notebook after a run in the repository, made once for all tests."""
    return run(name, FOLDER.parent)


AS_COMMITTED_AND_NOW = [read, pytest.param(executed, marks=pytest.mark.slow)]


def shown(notebook):
    """The text that a notebook's cells have shown, and the number of its pictures."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    texts = [o.get("text") or o.data.get("text/markdown", "") for o in outputs]
    return "".join(texts), sum("image/png" in o.get("data", {}) for o in outputs)


def prose(name):
    return [c.source for c in read(name).cells if c.cell_type == "markdown"]


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_is_short_valid_executed_and_free_of_machine_paths(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 25
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for output in (output for cell in code for output in cell.outputs):
        assert output.output_type in ("stream", "display_data", "execute_result")
        assert output.get("name") != "stderr"
    assert not MACHINE_PATH.search(shown(notebook)[0])
    assert not any(MACHINE_PATH.search(cell.source) for cell in notebook.cells)


@pytest.mark.parametrize("name", NAMES)
def test_what_every_notebook_imports_is_there(name):
    cells = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    trees = [ast.parse(re.sub(r"^[%!].*", "", cell, flags=re.MULTILINE)) for cell in cells]
    imports = [n for t in trees for n in ast.walk(t) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert any("avalanche_ham" in ast.unparse(node) for node in imports)
    for node in imports:
        exec(ast.unparse(node), {})


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_runs_and_draws_as_many_pictures_as_the_committed_one(name):
    assert shown(executed(name))[1] == shown(read(name))[1] >= 2


def test_ham_step_by_step_follows_the_papers_sections_in_order():
    lines = [line for text in prose(STEPS) for line in text.splitlines()]
    headings = [line for line in lines if line.startswith("## ")]
    sections = [re.findall(r"\d\.\d(?:\.\d)?", heading) for heading in headings]
    assert [s[0] for s in sections if s] == ["3.2.1", "3.2.2", "3.3"]


@pytest.mark.parametrize("notebook", AS_COMMITTED_AND_NOW)
def test_ham_step_by_step_shows_that_merging_changes_nothing_and_works(notebook):
    text, _ = shown(notebook(STEPS))
    assert "backbone bit-identical: True" in text
    assert "un-merged state bit-identical after the evaluation: True" in text
    unmerged = re.search(r"un-merged: (.*)", text)[1].strip()
    assert unmerged == re.search(r"\nmerged: (.*)", text)[1].strip()
    mean = float(re.search(r"mean accuracy over all tasks: ([\d.]+) %", text)[1])
    assert mean > 30  # guessing: 10


def test_reading_the_results_has_no_results_in_its_prose():
    numbers = re.compile(r"\d\.\d|\d ?%")  # records come and go
    assert not [text for text in prose(RESULTS) if numbers.search(text)]


@pytest.mark.slow
def test_reading_the_results_shows_dashes_for_what_is_missing(tmp_path, monkeypatch):
    records = sorted((FOLDER.parent / "experiments/results").rglob("*-study.jsonl"))
    (tmp_path / "experiments/results").mkdir(parents=True)
    assert records
    for file in records[:1]:
        shutil.copy(file, tmp_path / "experiments/results")
    paths = [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    text, pictures = shown(run(RESULTS, tmp_path))
    assert pictures == shown(read(RESULTS))[1]
    assert "| SD-LoRA | – | 71.63 ± 0.67 |" in text and "| frozen backbone |" in text
    assert not re.search(r"no data|\bnan\b", text)


@pytest.mark.parametrize("notebook", AS_COMMITTED_AND_NOW)
def test_own_data_is_learnt_and_its_adapter_is_the_same_in_peft(notebook):
    text, _ = shown(notebook(OWN_DATA))
    final = re.findall(r"after task 5: accuracy (\d+) %", text)
    untrained, trained = map(int, final)
    assert trained > 50 and trained > untrained  # guessing: 10
    differences = re.findall(r"(\w+): largest difference to HAM (\S+),", text)
    assert [name for name, _ in differences] == ["own", "embedded"]
    assert all(float(difference) < 1e-4 for _, difference in differences)


@pytest.mark.parametrize("notebook", AS_COMMITTED_AND_NOW)
def test_following_the_drift_regains_most_of_what_was_lost(notebook):
    text, _ = shown(notebook(DRIFT))
    stays, follows, anew = map(float, re.findall(r": ([\d.]+) % after five tasks", text))
    assert stays < follows - 10 and follows - stays > anew - follows
    near = re.findall(r"means off by ([\d.]+) where", text)
    assert float(near[1]) < float(near[0]) and "the rest stays: True" in text
