"""The results that are committed are those of the records that are committed."""

from __future__ import annotations

import csv

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.runs.archive import read_archive
from avalanche_ham.runs.presets import preset_values
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


@pytest.mark.parametrize("name", ["methods_at_10_tasks", "methods_at_50_tasks"])
def test_the_readme_shows_a_table_as_it_was_printed(name, experiments):
    readme = (experiments / "README.md").read_text()
    table = (experiments / "results" / "tables" / f"{name}.md").read_text()
    _, *blocks = table.split("### ")
    assert len(blocks) == 2  # one per head
    for block in blocks:
        assert block.partition("\n- ")[0].strip() in readme


def test_the_presets_rates_are_those_that_the_committed_grid_chose(experiments):
    import learning_rates as script

    options = script.parse(["--records", str(experiments / "results")])
    setup = Setup(seeds=(1,), preset="cpu", data_root="", heads=script.HEADS)
    archive = read_archive(options.records)
    lines = script.table(setup, script.ALL, archive, options)
    assert "\n".join(lines) in (experiments / "README.md").read_text()
    chosen = {m: line.split("|")[-2].strip() for m, line in zip(script.ALL, lines[2:], strict=True)}
    stale = {method for method, rate in chosen.items() if rate == "-"}
    assert stale == {name for name in chosen if METHODS[name].numbers > 1}
    for method in chosen.keys() - stale:
        assert preset_values("cpu", "cifar100", method)["lr"] == float(chosen[method]), method


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
        expected = [sum((v[-per_set:] for v in blocks.values()), []) for blocks in known.values()]
        found = shown[start + 1 : start + 1 + len(known)]
        assert sorted(found) == sorted(expected), name
