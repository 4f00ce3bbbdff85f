"""Every table and figure, on the smoke preset; and a table that is killed half-way."""

from __future__ import annotations

import csv

import pytest
from sampling import some_of

from avalanche_ham.cli import reports
from avalanche_ham.cli.config_file import expand
from avalanche_ham.cli.main import main
from avalanche_ham.cli.report_options import REPORTS
from avalanche_ham.errors import HamError
from avalanche_ham.reporting.notes import fill_with_notes
from avalanche_ham.runs import one_run

NAMES = [(kind, name) for kind, names in REPORTS.items() for name in names]
SMALL = [
    "--preset", "smoke", "--benchmark", "digits", "--seeds", "1", "--tasks", "2",
    "--methods", "finetune,ham", "--jobs", "0", "--threads", "1", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """One folder for all scripts: what one has made, the next one finds."""
    return tmp_path_factory.mktemp("records")


@pytest.mark.parametrize("command", some_of(map(" ".join, NAMES), "table 1", "figure 2"))
def test_a_command_makes_its_runs_and_its_output(command, records, tmp_path, capsys):
    kind, name = command.split()
    out = tmp_path / "out" if kind == "figure" else tmp_path / "table.csv"
    words = [kind, name, *SMALL, "--run", "--records", str(records), "--out", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    path = next(out.glob("*.csv")) if kind == "figure" else out
    cells = list(csv.DictReader(path.read_text().splitlines()))
    assert any(cell["mean"] for cell in cells)
    assert not any(int(cell["missing"]) or int(cell["failed"]) for cell in cells if cell["mean"])


def _table(records, *words):
    return main(["table", "1", "--records", str(records), *SMALL, "--head", "linear", *words])


def test_half_a_table_is_finished_by_the_same_command(tmp_path, monkeypatch, capsys):
    begun = []

    def stop_at_the_second(config, *args, **options):
        begun.append(config.method)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return original(config, *args, **options)

    original = one_run.run
    monkeypatch.setattr(one_run, "run", stop_at_the_second)
    assert _table(tmp_path, "--run") == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(
        one_run,
        "run",
        lambda c, *a, **o: (begun.append(c.method), original(c, *a, **o)),
    )
    assert _table(tmp_path, "--run") == 0
    assert begun == ["finetune", "ham", "ham"]  # the finished one was not made again
    assert "2 of 2 finished" in capsys.readouterr().out
    assert _table(tmp_path, "--run") == 0
    assert len(begun) == 3


def test_one_more_seed_makes_only_its_own_runs(records, capsys):
    assert _table(records, "--run", "--seeds", "1") == 0
    capsys.readouterr()
    assert _table(records, "--run", "--dry-run", "--seeds", "1,2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("seed 2" in line for line in lines[:2])
    assert lines[-1].startswith("2 runs missing, 2 finished; left: about")


def test_one_table_in_several_formats_is_read_once(tmp_path, capsys, monkeypatch):
    (tmp_path / "records").mkdir()
    outs = [tmp_path / f"table{suffix}" for suffix in (".md", ".csv", ".tex")]
    filled = []
    monkeypatch.setattr(
        reports, "fill_with_notes", lambda *a: filled.append(a) or fill_with_notes(*a)
    )
    words = [word for path in outs for word in ("--out", str(path))]
    assert _table(tmp_path / "records", *words) == 0
    assert capsys.readouterr().out.split() == [str(path) for path in outs] and len(filled) == 1
    firsts = [path.read_text().split(maxsplit=1)[0] for path in outs]
    assert firsts == ["##", "block,row,column,mean,std,low,high,seeds,missing,failed,no_data,"
                      "text,paper,paper_std,best,near", r"\begin{table}"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "no_such"], "ham: backbone must be one of "),
        (["--tasks", "11"], "ham: tasks must be at most 10 on digits"),
    ],
)
def test_what_no_run_can_be_is_refused_also_where_nothing_is_to_run(tmp_path, capsys, words, said):
    assert _table(tmp_path, *words) == 2
    assert capsys.readouterr().err.startswith(said)


def test_dry_run_makes_nothing(tmp_path, capsys):
    assert _table(tmp_path / "new", "--run", "--dry-run") == 0
    assert not (tmp_path / "new").exists()
    assert "2 runs missing" in capsys.readouterr().out


@pytest.mark.slow
def test_two_jobs_make_a_table(tmp_path, capsys):
    assert _table(tmp_path, "--run", "--jobs", "2", "--out", str(tmp_path / "t.tex")) == 0
    assert r"\begin{tabular}" in (tmp_path / "t.tex").read_text()
    assert "[2/2]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, said",
    [
        (["table", "9", "--records", "."], "table must be one of"),
        (["table", "1"], "--records"),
        (["table", "1", "--records", "nowhere"], "nowhere does not exist"),
        (
            ["table", "1", "--records", ".", "--seeds", "one"],
            "seeds must be whole numbers",
        ),
        (["table", "1", "--records", ".", "--format", "word"], "format must be one of"),
        (["table", "1", "--records", ".", "--methods", "hamm"], "did you mean 'ham'"),
        (["table", "1", "--records", ".", "--benchmark", ""], "benchmark must be one of"),
        (["table", "1", "--records", ".", "--dry-run"], "dry-run"),
        (["table", "1", "--records", ".", "--retry"], "retry must be given together with --run"),
        (["table", "1", "--records", ".", "--keep-state"], "keep-state must be given together"),
        (["table", "1", "--records", ".", "--jobs", "-1"], "jobs must be at least 0"),
        (["figure", "4", "--records", "."], "figure must be one of"),
    ],
)
def test_bad_input_is_one_line_and_code_2(words, said, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and not captured.out


@pytest.mark.parametrize("suffix", [".toml", ".yaml"])
def test_a_config_file_stands_in_front_of_the_command_line(tmp_path, suffix):
    if suffix == ".yaml":
        pytest.importorskip("yaml")
        text = "seeds: [1, 2]\ndownload: true\nrun: false\noptions: {steps: 2}\n"
    else:
        pytest.importorskip("tomllib")
        text = "seeds = [1, 2]\ndownload = true\nrun = false\n[options]\nsteps = 2\n"
    path = tmp_path / f"config{suffix}"
    path.write_text(text)
    words, tables = expand(["1", "--config", str(path), "--seeds", "3"])
    assert words == ["--seeds=1,2", "--download", "1", "--seeds", "3"]
    assert tables == {"options": {"steps": 2}}


def test_a_config_file_sets_options_of_ham_run_and_the_command_line_wins(tmp_path, capsys):
    pytest.importorskip("tomllib")
    path = tmp_path / "run.toml"
    path.write_text(
        'method = "lora"\npreset = "smoke"\nbenchmark = "digits"\ntasks = 2\nrank = 3\n'
    )
    out = tmp_path / "out"
    assert main(["run", f"--config={path}", "--rank", "2", "--out", str(out)]) == 0
    record = (out / "records.jsonl").read_text()
    assert '"method": "lora"' in record and '"rank": 2' in record


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.toml", "seeds = ["),
        ("a.ini", "seeds = 1"),
        ("a.toml", "[other]\nsteps = 2"),
        ("a.yaml", "- 1"),
    ],
)
def test_a_bad_config_file_is_an_error_that_names_it(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(HamError, match="config: .*"):
        expand(["--config", str(path)])
    with pytest.raises(HamError, match="cannot read"):
        expand(["--config", str(tmp_path / "none.toml")])
