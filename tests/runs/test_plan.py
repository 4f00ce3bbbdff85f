"""Which runs are missing, which are one and the same, and how long they take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from toys import SMOKE

from avalanche_ham.errors import DataError
from avalanche_ham.reporting.tables import TABLES
from avalanche_ham.runs.archive import read_archive
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.plan import (
    duration,
    estimate,
    make_plan,
    time_left,
    time_taken,
    together,
)
from avalanche_ham.runs.runner import run


@pytest.mark.parametrize(
    "config",
    [
        SMOKE,
        replace(SMOKE, method="ncm", options={}),
        replace(SMOKE, options={"targets": ("attn.qkv",), "holdout": 0.25, "keep": 1}),
        replace(SMOKE, method="joint", head="ridge", options={"epochs": 1}),
    ],
)
def test_a_real_record_has_the_identity_that_was_planned(config):
    record = run(config, Resources(threads=1), show=False)
    assert identity_in(json.loads(json.dumps(record))) == identity_of(config)


def test_heads_that_shared_a_training_took_its_time_once(archive_of):
    seconds = {"train_seconds": [60.0] * 2, "eval_seconds": [5.0, 10.0]}
    runs = [replace(SMOKE, head=h, seed=s) for s in (1, 2) for h in ("linear", "ridge")]
    archive = archive_of(*[(config, seconds) for config in runs[:3]])
    assert time_taken(runs, archive) == duration(2 * 135)
    apart = [(runs[0], seconds), (runs[1], {**seconds, "eval_seconds": [4.0, 3.0]})]
    assert time_taken(runs, archive_of(*apart)) == duration(135 + 127)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"n_tasks": 5},
        {"head": "ridge"},
        {"method": "lora"},
        {"benchmark": "cifar100"},
        {"backbone": "embedded"},
        {"preset": "cpu"},
        {"options": {"rank": 3}},
        {"weights": __file__},
        {"data_id": "sha256-01234567"},
    ],
)
def test_whatever_changes_a_result_changes_the_identity(change):
    other = replace(SMOKE, **change)
    assert identity_of(other) != identity_of(SMOKE)
    assert identity_of(other).slug != identity_of(SMOKE).slug


def test_an_option_given_at_its_default_is_the_same_run():
    given = replace(SMOKE, options={"rank": 2, "keep": 0.6, "max_groups": 2})
    assert identity_of(given) == identity_of(SMOKE)


def test_an_old_record_without_a_new_option_counts_as_its_default(archive_of):
    archive = archive_of((SMOKE, {}))
    (record,) = archive.records.values()
    del record["hyperparameters"]["assignment"]
    assert identity_in(record) == identity_of(SMOKE)


def test_runs_on_one_image_folder_are_not_those_on_another(with_setup, shelf, tmp_path):
    first, second = (
        with_setup(benchmarks=("image_folder",), data_root=str(tmp_path / name)) for name in "ab"
    )
    for setup, names in ((first, ("ant", "bee")), (second, ("ant", "cat"))):
        for name in (f"{part}/{name}" for part in ("train", "test") for name in names):
            folder = Path(setup.data_root, name)
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(b"image")
    for config in TABLES["1"](first).runs():
        shelf.put(config)
    archive = read_archive(shelf.folder)
    for setup, missing in ((first, 0), (second, 4)):
        plan = make_plan(TABLES["1"](setup).runs(), archive, setup)
        assert len(plan.missing) == missing


def test_plan_takes_each_run_once_and_seed_after_seed(setup, archive_of):
    runs = list(TABLES["1"](setup).runs())
    plan = make_plan([*runs, *runs], archive_of((runs[0], {})), setup)
    assert plan.finished == (runs[0],)
    assert [config.seed for config in plan.missing] == [1, 1, 1, 2, 2, 2, 2]
    assert {config.benchmark for config in plan.without_data} == {"cub200"}


def test_failed_runs_are_left_alone_unless_asked_for(setup, shelf):
    config = next(iter(TABLES["1"](setup).runs()))
    shelf.fail(config)
    archive = read_archive(shelf.folder)
    assert make_plan([config], archive, setup).failed == (config,)
    assert make_plan([config], archive, setup, retry=True).missing == (config,)


def test_bad_input_is_no_failure(setup, shelf):
    config = next(iter(TABLES["1"](setup).runs()))
    shelf.fail(config, bad_input=True)
    assert make_plan([config], read_archive(shelf.folder), setup).missing == (config,)


def test_runs_that_differ_only_in_the_head_train_once():
    runs = [
        replace(SMOKE, head="ridge"),
        replace(SMOKE, seed=2),
        SMOKE,
        replace(SMOKE, head="ncm", options={"rank": 3}),
    ]
    assert [config.head for config in together(runs)] == [
        "linear,ridge",
        "linear",
        "ncm",
    ]


def test_a_training_that_fails_fails_for_each_head(shelf):
    shelf.fail(replace(SMOKE, head="linear,ridge"))
    archive = read_archive(shelf.folder)
    assert archive.failure(SMOKE) and archive.failure(replace(SMOKE, head="ridge"))


def test_estimate_prefers_the_same_method_and_scales_with_tasks(archive_of):
    longer = replace(SMOKE, n_tasks=4, seed=2)
    archive = archive_of(
        (SMOKE, {"train_seconds": [10.0, 10.0], "eval_seconds": [1.0, 2.0]}),
        (replace(SMOKE, method="lora"), {"train_seconds": [99.0, 99.0]}),
    )
    assert estimate(replace(SMOKE, seed=3), archive) == 20 + 2 * 1.5
    assert estimate(longer, archive) == 40 + 2 * 2.5
    assert estimate(replace(SMOKE, preset="cpu"), archive) is None


def test_time_left_is_shared_by_the_processes(archive_of):
    archive = archive_of((SMOKE, {"train_seconds": [600.0], "eval_seconds": [0.0]}))
    runs = [replace(SMOKE, seed=seed) for seed in (2, 3, 4, 5)]
    assert time_left(runs, archive, jobs=2) == "about 20 min"
    assert time_left([], archive, jobs=2) == "nothing"
    assert "unknown" in time_left([replace(SMOKE, preset="cpu")], archive, jobs=1)
    assert [duration(s) for s in (5, 90, 3700)] == ["5 s", "2 min", "1 h 2 min"]


def test_a_folder_that_is_not_there_is_an_error_only_when_reading(tmp_path):
    with pytest.raises(DataError):
        read_archive(tmp_path / "nothing")
    assert not read_archive(tmp_path / "nothing", must_exist=False).records
