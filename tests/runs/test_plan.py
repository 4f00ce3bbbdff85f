"""Which runs are missing, which are one and the same, and how long they take."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from made_up_records import made_up
from toys import SMOKE

from avalanche_ham.errors import DataError
from avalanche_ham.reporting.cells import mean_of
from avalanche_ham.reporting.layout import fill, lay_out, needs_of, runs_of
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Column, Line, Table
from avalanche_ham.reporting.tables import TABLES
from avalanche_ham.runs.archive import Archive, read_archive
from avalanche_ham.runs.at_hand import AtHand
from avalanche_ham.runs.config import Resources
from avalanche_ham.runs.execute import Queue
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.plan import (
    Times,
    duration,
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
    resources = Resources(threads=1)
    record = run(config, resources, show=False)
    found = identity_in(json.loads(json.dumps(record)))
    assert found.asked == identity_of(config).asked
    assert found.digests == AtHand(resources)(config)


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
        {"image_size": 32},
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
    ((record,),) = archive.records.values()
    del record["hyperparameters"]["assignment"]
    assert identity_in(record).asked == identity_of(SMOKE).asked


def test_a_finished_run_on_other_images_is_made_again(archive_of):
    archive = archive_of((SMOKE, {}))
    (record,) = archive.found(SMOKE)
    for images, missing in ((record["images_digest"], 0), ("sha256-2", 1)):
        digests = identity_in(record).digests._replace(images=images)
        plan = make_plan([SMOKE], archive, lambda name: True, know=lambda config, d=digests: d)
        assert len(plan.missing) == missing


def test_a_record_without_what_only_probes_measure_does_not_count_for_a_table_of_it(archive_of):
    column = Column("FWT", mean_of("fwt"), needs=("fwt",))
    setup = Setup(preset="smoke", backbone="tiny", seeds=(1,))
    rows = [Line("HAM"), Line("bound", method="joint"), Line("", options={"n_tasks": 1})]
    sheet = lay_out(Table("t", [column], rows, lengths=[2]), setup)
    runs = list(runs_of(sheet))
    for value, missing in ((None, [runs[0]]), (1.5, [])):  # of the others it is undefined
        joint = (runs[1], {"fwt": None, "train_seconds": [1.0]})
        archive = archive_of((runs[0], {"fwt": value}), joint, (runs[2], {"fwt": None}))
        plan = make_plan(runs, archive, lambda name: True, needs=needs_of(sheet))
        assert list(plan.missing) == missing
        cells = [row.cells[0] for row in fill(sheet, archive).blocks[0].rows]
        assert [cell.missing for cell in cells] == [len(missing), 0, 0]
        assert [cell.mean for cell in cells] == [value, None, None]


def test_two_image_folders_are_two_data_sets_in_tables(with_setup, shelf, tmp_path):
    for name in ("ants", "bees"):
        (tmp_path / name / "train").mkdir(parents=True)
    setup = with_setup(benchmarks=("ants",), data_root=str(tmp_path))
    for config in runs_of(lay_out(TABLES["1"], setup)):
        shelf.put(config)
    archive = read_archive(shelf.folder)
    for name, missing in (("ants", 0), ("bees", 4)):
        runs = runs_of(
            lay_out(TABLES["1"], with_setup(benchmarks=(name,), data_root=str(tmp_path)))
        )
        assert len(make_plan(runs, archive, setup.has_data).missing) == missing


def test_plan_takes_each_run_once_and_seed_after_seed(setup, archive_of):
    runs = list(runs_of(lay_out(TABLES["1"], setup)))
    plan = make_plan([*runs, *runs], archive_of((runs[0], {})), setup.has_data)
    assert plan.finished == (runs[0],)
    assert [config.seed for config in plan.missing] == [1, 1, 1, 2, 2, 2, 2]
    assert {config.benchmark for config in plan.without_data} == {"cub200"}


def test_failed_runs_are_left_alone_unless_asked_for(setup, shelf):
    config = next(iter(runs_of(lay_out(TABLES["1"], setup))))
    shelf.fail(config)
    archive = read_archive(shelf.folder)
    assert make_plan([config], archive, setup.has_data).failed == (config,)
    assert make_plan([config], archive, setup.has_data, retry=True).missing == (config,)


def test_bad_input_is_no_failure(setup, shelf):
    config = next(iter(runs_of(lay_out(TABLES["1"], setup))))
    shelf.fail(config, bad_input=True)
    assert make_plan([config], read_archive(shelf.folder), setup.has_data).missing == (config,)


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
    assert Times(archive).estimate(replace(SMOKE, seed=3)) == 20 + 2 * 1.5
    assert Times(archive).estimate(longer) == 40 + 2 * 2.5
    assert Times(archive).estimate(replace(SMOKE, preset="cpu")) is None


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


def test_the_estimate_reads_ten_thousand_records_once_and_within_a_second(monkeypatch, tmp_path):
    record, archive = made_up(SMOKE), Archive()
    for seed in range(10_000):
        archive.records[identity_of(SMOKE)._replace(seed=seed)].append({**record, "seed": seed})
    start = time.process_time()
    queue = Queue([], tmp_path, archive, jobs=1)
    for seed in range(10_000):
        queue.times.add({**record, "seed": 10_000 + seed})
        time_left([SMOKE], queue.times, jobs=1)
    assert time.process_time() - start < 1
    monkeypatch.setattr(Archive, "all_records", lambda self: pytest.fail("read again"))
    monkeypatch.setattr("avalanche_ham.runs.execute.outcome", lambda folder: ([record], None))
    queue.report(SMOKE, 0, running=[SMOKE])
    seconds = sum(record["train_seconds"]) + 1.5 * record["eval_seconds"][-1]
    assert queue.times.estimate(SMOKE) == pytest.approx(seconds)
