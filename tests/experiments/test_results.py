"""The results that are committed are those of the records that are committed."""

from __future__ import annotations

import csv
import re
from collections import defaultdict

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.runs.archive import read_archive
from avalanche_ham.runs.presets import _STUDY, preset_values
from avalanche_ham.strategies.registry import METHODS


@pytest.mark.slow
def test_committed_tables_are_what_their_commands_print(experiments, capsys):
    from write_results import ITEMS, words_of

    folder = experiments / "results" / "tables"
    tables = {name for name, words in ITEMS.items() if words.startswith("table")}
    assert {path.stem for path in folder.iterdir()} == tables
    for name in tables:
        assert main([*words_of(name), "--records", str(folder.parent), "--download"]) == 0
        assert capsys.readouterr().out == (folder / f"{name}.md").read_text(), name


@pytest.mark.slow
def test_committed_figures_have_the_numbers_that_their_commands_write(experiments, tmp_path):
    from write_results import ITEMS, words_of

    folder = experiments / "results" / "figures"
    figures = {name for name, words in ITEMS.items() if words.startswith("figure")}
    assert {path.stem for path in folder.iterdir()} == figures
    for name in figures:
        words = ["--records", str(folder.parent), "--download", "--out", str(tmp_path)]
        assert main([*words_of(name), *words]) == 0
        for kind in (".csv", ".txt"):
            assert (tmp_path / f"{name}{kind}").read_text() == (
                folder / f"{name}{kind}"
            ).read_text()


def test_the_study_s_rates_are_those_that_the_committed_grid_chose(experiments, capsys):
    import study_rates as script

    options = script.parse(["--records", str(experiments / "results"), "--dry"])
    search = script.Search(options)
    chosen = {method: script.rate_of(search, method) for method in script.NAMES}
    made = {
        method
        for method, (found, _) in chosen.items()
        if None not in map(found.get, script.LADDER[script.first_of(method)])
    }
    assert made == {*_STUDY} == {*script.NAMES} - {"joint"}  # joint is the measure, not a method
    for method in made - {"frozen"}:  # whose two best rates lie beside the preset's
        rate = float(chosen[method][1].split()[0])
        assert preset_values("study", "cifar100", method)["lr"] == rate, method
    words = ["--records", str(experiments / "results"), "--dry", "--methods", ",".join(_STUDY)]
    script.main(words)
    assert capsys.readouterr().out in (experiments / "README.md").read_text()


def test_every_committed_record_is_of_a_commit_and_of_its_method_s_present_numbers(experiments):
    records = list(read_archive(experiments / "results").all_records())
    assert records and all(record["clean"] and record["commit"] for record in records)
    versions = {(r["method"], r["numbers_version"], METHODS[r["method"]].numbers) for r in records}
    assert all(found == present for _, found, present in versions), versions


def test_the_readme_shows_the_headroom_on_record(experiments, capsys):
    assert main(["headroom", "--all", "--records", str(experiments / "results")]) == 0
    table = capsys.readouterr().out
    assert table.count("\n") > 2 and table in (experiments / "README.md").read_text()


def test_the_page_on_ham_plus_shows_its_tables_numbers(experiments):
    """Each table of ``Results`` in HAM_PLUS.md, cell by cell: the last heads of each data set."""
    page = (experiments / "HAM_PLUS.md").read_text().partition("\n## Results\n")[2]
    page = page.partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    shown = [[cell.strip("*").partition(" ± ")[0] for cell in row[1:]] for row in rows]
    starts = [k for k, row in enumerate(rows) if row[0] == "method"]
    assert len(starts) == 2
    for start, name, per_set in zip(starts, ("heads_at_50_tasks", "heads_at_10_tasks"), (5, 3)):
        with (experiments / "results" / "tables" / f"{name}.csv").open(newline="") as file:
            cells = list(csv.DictReader(file))
        known: dict[str, dict[str, list[str]]] = {}
        for cell in cells:
            of_row = known.setdefault(cell["row"], {})
            of_row.setdefault(cell["block"], []).append(f"{float(cell['mean']):.1f}")
        expected = {
            label.lower(): sum((v[-per_set:] for v in blocks.values()), [])
            for label, blocks in known.items()
        }
        below = slice(start + 1, start + 1 + len(known))
        labels = [row[0].strip("*").partition(" (`")[0].lower() for row in rows[below]]
        assert dict(zip(labels, shown[below], strict=True)) == expected, name


SAID = re.compile(
    r"(-?\d+\.\d)[^\d.;:()-]*\((-?\d+\.\d) to (-?\d+\.\d)\)"  # 2.1 points (0.6 to 3.6)
    r"|(-?\d+\.\d): (-?\d+\.\d) to (-?\d+\.\d)"  # (2.1: 0.6 to 3.6)
)


def test_every_interval_that_the_findings_tell_stands_in_a_committed_table(experiments):
    """A difference and its 95 % interval, in either direction, rounded to one digit."""
    known = set()
    for path in (experiments / "results" / "tables").glob("*.csv"):
        rows = defaultdict(dict)
        with path.open(newline="") as file:
            for cell in csv.DictReader(file):
                rows[cell["block"], cell["row"]][cell["column"]] = cell
        for cells in rows.values():
            means = [float(c["mean"]) for name, c in cells.items() if "minus" in name and c["mean"]]
            for cell in cells.values():
                if means and (found := re.match(r"([-+][\d.]+) to ([-+][\d.]+)", cell["text"])):
                    low, high = map(float, found.groups())
                    known |= {(means[0], low, high), (-means[0], -high, -low)}
    page = (experiments / "README.md").read_text()
    findings = " ".join(page[page.index("## What was found") : page.index("## Headroom")].split())
    told = [tuple(float(v) for v in m if v) for m in SAID.findall(findings)]
    assert len(told) > 20
    for one in told:
        near = (all(abs(a - b) < 0.0551 for a, b in zip(one, row)) for row in known)
        assert any(near), one
