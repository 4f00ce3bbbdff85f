"""``ham table`` and ``ham figure`` refuse bad input before anything runs."""

from __future__ import annotations

import re

import pytest

from avalanche_ham.cli.main import main
from avalanche_ham.cli.report_options import make_parser, make_setup
from avalanche_ham.runs.archive import Archive

SMALL = ("--preset", "smoke", "--benchmark", "digits", "--methods", "ham", "--jobs", "0")


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command that must fail at once; ``FILE`` and ``DIR`` stand for such things."""
    (tmp_path / "FILE").write_text("mine")
    (tmp_path / "DIR").mkdir()

    def run(words, *, records):
        given = [
            word if word[:4] not in ("FILE", "DIR") else str(tmp_path / word)
            for word in [*words.split(), "--records", records]
        ]
        before = sorted(tmp_path.rglob("*"))
        assert main([*given, *SMALL]) == 2
        printed, error = capsys.readouterr()
        assert printed == "" and error.startswith("ham: ") and error.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        assert (tmp_path / "FILE").read_text() == "mine"
        return error

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--backbone tinny", "backbone must be one of"),
        ("--backbone vit_base_patch16_224.mine", "got 'vit_base_patch16_224.mine'"),
        ("--weights none.pth", "weights: cannot read none.pth"),
        ("--tasks 20", "tasks must be at most 10 on digits, its number of classes"),
        ("--tasks 2,20", "but got 20"),
        ("--seeds=-1", "seeds must be at least 0"),
        ("--seeds 1,99999999999", "seeds must be at least 0 and at most"),
        ("--device meta", "device must be auto, cpu or"),
        ("--out FILE/table.md", "FILE is a file, not a folder"),
        ("--out DIR", "DIR is a folder, not a file"),
    ],
)
@pytest.mark.parametrize("dry", ["", " --dry-run"])
def test_what_every_run_would_stumble_over_is_said_once(words, said, dry, refused):
    assert said in refused(f"table 1 --run {words}{dry}", records="DIR/new")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("table 1 --run", "records: .*FILE is a file"),
        ("figure 2 --run --out DIR", "records: .*FILE is a file"),
        ("figure 2", "out: .*FILE is a file"),  # its pictures would lie below
    ],
)
def test_records_that_cannot_be_written_are_refused(words, said, refused):
    assert re.search(said, refused(words, records="FILE/new"))


def test_a_figure_whose_folder_is_a_file_is_refused(refused):
    assert "FILE is a file" in refused("figure 2 --run --out FILE", records="DIR/new")


def test_what_is_listed_twice_counts_once():
    words = "1 --records r --seeds 1,1,2 --tasks 2,2,5,2 --benchmark digits,digits"
    words += " --methods ham,lora,ham --head ridge,ridge"
    setup = make_setup(make_parser("table").parse_args(words.split()), {}, Archive())
    assert (setup.seeds, setup.tasks, setup.benchmarks) == ((1, 2), (2, 5), ("digits",))
    assert (setup.methods, setup.heads) == (("ham", "lora"), ("ridge",))
