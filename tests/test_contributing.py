"""What CONTRIBUTING.md says: its blocks run as printed, and its import table holds."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from avalanche_ham.benchmarks import BENCHMARKS
from avalanche_ham.cli.main import main
from avalanche_ham.heads import HEADS, create_readout
from avalanche_ham.merging.registry import RULES
from avalanche_ham.reporting.tables import TABLES as REPORTS
from avalanche_ham.runs.records import read_records
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
    sys.path.insert(0, str(folder))
    try:
        for k, block in enumerate(BLOCKS):
            file = re.match(r"# file: (\S+)\n", block)
            if file:
                (folder / file[1]).write_text(block)
            else:
                exec(compile(block, f"CONTRIBUTING.md, block {k}", "exec"), names)
        yield names
    finally:
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


def test_the_example_table_shows_runs_on_the_example_data_set(page, tmp_path, capsys):
    words = ["--benchmark", "stripes", "--tasks", "2", "--preset", "smoke", "--seeds", "1"]
    words += ["--methods", "ham,tail_average", "--records", str(tmp_path), "--run", "--jobs", "0"]
    assert main(["table", "incremental", *words]) == 0
    printed = capsys.readouterr().out
    records = {(r["method"], r["head"]): r["aaa"] for r in read_records(tmp_path)}
    assert len(records) == 4
    for method, label in (("ham", "HAM"), ("tail_average", "tail_average")):
        (row,) = (line for line in printed.splitlines() if line.startswith(f"| {label} |"))
        for head in ("linear", "ridge"):
            assert f"{records[method, head]:.2f}" in row


@pytest.mark.parametrize("name", ["1", "methods", "compare", "extra"])
def test_a_registered_data_set_stands_in_every_table(page, name, tmp_path, capsys):
    words = ["--benchmark", "stripes", "--tasks", "2", "--preset", "smoke", "--seeds", "1"]
    words += ["--records", str(tmp_path), "--head", "linear"]
    run = ["--method", "ham", "--benchmark", "stripes", "--tasks", "2", "--preset", "smoke"]
    assert main(["run", *run, "--out", str(tmp_path / "run")]) == 0
    (record,) = read_records(tmp_path)
    capsys.readouterr()
    assert main(["table", name, *words]) == 0
    printed = capsys.readouterr().out
    assert "stripes" in printed and f"{record['aa']:.2f}" in printed


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
