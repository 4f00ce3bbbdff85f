"""What a cell counts: numbers, absent runs, failed ones, and finished ones without a number."""

from __future__ import annotations

from dataclasses import replace

from avalanche_ham.reporting.cells import Cell, mean_of
from avalanche_ham.runs.archive import read_archive
from avalanche_ham.runs.config import RunConfig

CONFIG = RunConfig(method="ham", benchmark="digits", n_tasks=2, preset="smoke")
RUNS = tuple(replace(CONFIG, seed=seed) for seed in range(1, 6))


def test_only_absent_runs_are_missing(shelf):
    for config, fm in zip(RUNS, (4.0, 6.0, None)):
        shelf.put(config, fm=fm)
    shelf.fail(RUNS[3])
    cell = Cell(tuple(zip(RUNS)), mean_of("fm")).fill(read_archive(shelf.folder))
    assert (cell.mean, cell.n, cell.undefined, cell.failed, cell.missing) == (5, 2, 1, 1, 1)
    assert cell.total == 5


def test_what_rounding_leaves_of_nothing_has_no_sign():
    pairs = [({"aa": 0.1 + 0.2}, {"aa": 0.3}), ({"aa": 0.3}, {"aa": 0.1 + 0.2 + 1e-12})]
    assert mean_of("aa")(pairs).mean == 0.0 and str(mean_of("aa")(pairs).mean) == "0.0"
    assert str(mean_of("bwt")([[{"bwt": -0.0}]]).mean) == "0.0"
    assert mean_of("bwt")([[{"bwt": -0.001}]]).mean == -0.001


def test_a_difference_is_missing_where_either_run_is(shelf):
    lora = tuple(replace(config, method="lora") for config in RUNS)
    for config, fm in zip(RUNS, (4.0, 6.0, None)):
        shelf.put(config, fm=fm)
    for config in (lora[0], lora[2], lora[3]):
        shelf.put(config, fm=1.0)
    shelf.fail(lora[1])
    cell = Cell(tuple(zip(RUNS, lora)), mean_of("fm")).fill(read_archive(shelf.folder))
    assert (cell.mean, cell.n, cell.undefined, cell.failed, cell.missing) == (3, 1, 1, 1, 2)
