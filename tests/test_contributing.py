"""What CONTRIBUTING.md says: its blocks run as printed, and its import table holds."""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from pathlib import Path

import pytest
import torch
from sampling import some_of

from avalanche_ham.benchmarks import BENCHMARKS
from avalanche_ham.cli.main import main as ham
from avalanche_ham.heads import HEADS, create_readout
from avalanche_ham.merging.registry import RULES
from avalanche_ham.reporting.figures import FIGURES
from avalanche_ham.reporting.tables import TABLES as REPORTS
from avalanche_ham.strategies.registry import METHODS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
TABLES = (METHODS, RULES, HEADS, BENCHMARKS, REPORTS)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The names that the blocks leave, run in order in a folder of their own."""
    folder = tmp_path_factory.mktemp("contributing")
    before, modules, names = [dict(table) for table in TABLES], set(sys.modules), {}
    here = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        for k, block in enumerate(BLOCKS):
            file = re.match(r"# file: (\S+)\n", block)
            if file:
                (folder / file[1]).write_text(block)
            else:
                exec(compile(block, f"CONTRIBUTING.md, block {k}", "exec"), names)
        yield {**names, "folder": folder}
    finally:
        os.chdir(here)
        sys.path.remove(str(folder))
        for name in set(sys.modules) - modules:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == folder:
                del sys.modules[name]
        for table, rows in zip(TABLES, before, strict=True):
            table.clear()
            table.update(rows)


def test_each_of_the_four_runs_end_to_end_by_its_name(page):
    records = {name: page[name] for name in ("tail_average", "drop_max", "diagonal_lda", "stripes")}
    assert records["tail_average"]["method"] == "tail_average"
    assert records["tail_average"]["hyperparameters"]["tail"] == 0.6
    assert records["drop_max"]["hyperparameters"]["merge"] == "drop_max"
    assert records["diagonal_lda"]["head"] == "diagonal_lda"
    assert records["stripes"]["benchmark"] == page["benchmark"].name == "stripes"
    for record in records.values():
        assert len(record["accuracy_matrix"]) == 2
        assert 0 <= record["aa"] <= 100
        assert record["backbone"] == "tiny"


def test_what_the_example_readout_feeds_on_is_what_it_predicts_with(page):
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    targets = torch.arange(3).repeat(40)
    spread = torch.tensor([1.0, 0.1, 1.0])
    features = centres[targets] + spread * torch.randn(120, 3, generator=generator)
    readout = create_readout("diagonal_lda", 3, 5)
    for part in range(0, 120, 50):
        readout.feed(features[part : part + 50], targets[part : part + 50])
    assert (readout(features).argmax(1) == targets).float().mean() > 0.9
    assert (readout(features)[:, 3:] == -1e4).all()


def test_the_example_rule_keeps_the_largest_and_the_share_that_survived(page):
    merger = page["DropMax"](density=1.0).start("layer")
    for index, row in enumerate([[1.0, -3.0, 0.0], [2.0, 1.0, 0.0], [-1.0, 0.0, 5.0]]):
        merger.add(torch.tensor([row]), 2.0, index)
    expected = torch.tensor([[4.0, -6.0 * 2 / 3, 10.0 / 3]])
    torch.testing.assert_close(merger.result(1.0), expected)


def test_the_example_table_shows_its_runs(page, capsys):
    words = ["--preset", "smoke", "--records", str(page["folder"] / "runs")]
    assert ham(["table", "ranks", *words]) == 0
    printed = capsys.readouterr().out
    assert "### stripes, 2 tasks, linear head, trained" in printed
    assert "runs: 6 of 6 finished" in printed
    files = (page["folder"] / "runs").rglob("records.jsonl")
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    aa = {rank: {} for rank in (8, 16)}
    for record in records:
        aa[record["hyperparameters"]["rank"]][record["seed"]] = record["aa"]
    gain = statistics.fmean(aa[16][seed] - aa[8][seed] for seed in (1, 2, 3))
    (row,) = (line for line in printed.splitlines() if line.startswith("| the default rank"))
    assert f"{statistics.fmean(aa[16].values()):.2f}" in row and f"| {gain:.2f}" in row


@pytest.mark.parametrize(
    "command",
    some_of([*(f"table {n}" for n in REPORTS), *(f"figure {n}" for n in FIGURES)], "table 1"),
)
def test_a_users_data_set_stands_in_every_table_and_figure(page, command, tmp_path, capsys):
    kind, name = command.split()
    words = [kind, name, "--benchmark", "stripes", "--seeds", "1", "--preset", "smoke"]
    words += ["--records", str(tmp_path / "runs"), "--run", "--dry-run"]
    assert ham([*words, "--methods", "ham,lora"]) == 0  # no table has more tasks than classes
    assert re.search(r"[1-9]\d* runs missing", capsys.readouterr().out)
    of_ham = kind == "table" and name in ("3", "4", "5", "6", "7", "extra", "ham_plus_parts")
    there = ["--records", str(page["folder"] / "runs"), "--methods", "lora,ncm", "--tasks", "2"]
    out = tmp_path / "out"
    assert ham([*words[:-4], "--head", "linear,diagonal_lda", *there, "--out", str(out)]) == 0
    notes = (out if kind == "table" else out / f"figure_{name}.txt").read_text()
    probed = command in ("table pam", "table slao")  # these runs were made without probes
    assert re.search("runs: 0 of" if of_ham or probed else "runs: [1-9]", notes)
    assert of_ham or kind == "figure" or "diagonal_lda head" in notes
