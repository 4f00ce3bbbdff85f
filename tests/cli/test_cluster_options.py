"""The words of ``--cluster``, in whatever order, and which have no meaning."""

from __future__ import annotations

import pytest

from avalanche_ham.cli.cluster_options import check_cluster, split_slurm
from avalanche_ham.cli.main import main
from avalanche_ham.cli.report_options import make_parser


def _request(*words):
    left, extra = split_slurm(["1", "--records", "R", *words])
    return check_cluster(make_parser("table").parse_args(left), extra)


def test_any_key_of_sbatch_is_taken_with_its_value_or_as_a_switch():
    words = ["1", "--slurm-qos", "high", "--slurm-exclusive", "--run", "--slurm-account=a b"]
    assert split_slurm(words) == (
        ["1", "--run"],
        {"qos": "high", "exclusive": True, "account": "a b"},
    )
    words = ["--slurm-exclusive=true", "--slurm-qos=high", "--slurm-qos=false"]
    assert split_slurm(words) == ([], {"exclusive": True})


def test_options_say_what_each_job_asks_for():
    words = "--run --cluster slurm --time 1-0 --gpus 1 --mem 16G --parallel 8 --threads 4"
    request = _request(*words.split(), "--slurm-qos", "high")
    assert request.minutes == 1440 and request.parallel == 8
    assert request.options() == {
        "gpus-per-node": "1", "mem": "16G", "cpus-per-task": 4, "qos": "high", "requeue": True,
    }  # fmt: skip
    more = _request("--run", "--cluster", "slurm", "--threads=4", "--slurm-cpus-per-task=8")
    assert more.options()["cpus-per-task"] == "8"
    assert _request() is None


@pytest.mark.parametrize(
    "words, said",
    [
        ("--run --mem 4G", "mem must be given together with --cluster, but got '4G'"),
        ("--slurm-qos high", "slurm-qos must be given together with --cluster, but got 'high'"),
        ("--cancel", "cancel must be given together with --cluster, but got True"),
        ("--run --cluster pbs", "cluster must be one of slurm, but got 'pbs'"),
        ("--run --cancel --cluster slurm", "cancel must be given without --run, but got 'both'"),
        ("--detach --cluster slurm", "detach must be given together with --run"),
        ("--run --jobs 2 --cluster slurm", "jobs must be left out with --cluster"),
        ("--run --time soon --cluster slurm", "time must be minutes, h:mm:ss, d-h or d-h:mm:ss"),
    ],
)
def test_an_option_without_effect_is_one_line(words, said, tmp_path, capsys):
    assert main(["table", "1", "--records", str(tmp_path), *words.split()]) == 2
    assert capsys.readouterr().err.startswith(f"ham: {said}")


def test_nothing_is_cancelled_where_nothing_is_queued(tmp_path, capsys):
    words = ["--cluster", "slurm", "--cancel"]
    assert main(["table", "1", "--records", str(tmp_path), *words]) == 0
    assert capsys.readouterr().out == "0 jobs cancelled\n"
