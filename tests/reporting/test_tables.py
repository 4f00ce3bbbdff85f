"""Comparisons from made-up records, against numbers worked out by hand."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.layout import fill, lay_out, runs_of
from avalanche_ham.reporting.notes import fill_with_notes
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.tables import TABLES
from avalanche_ham.runs.archive import Archive, read_archive
from avalanche_ham.runs.config import resolve_config
from avalanche_ham.runs.identity import _identity_of
from avalanche_ham.runs.presets import METHOD_OVERRIDES
from avalanche_ham.strategies.registry import METHODS


@pytest.fixture
def rates(monkeypatch):
    """Give a function that gives a method values of its own in a preset, or none."""

    def change(preset, method, values):
        if values is None:
            monkeypatch.delitem(METHOD_OVERRIDES, (preset, method), raising=False)
        else:
            monkeypatch.setitem(METHOD_OVERRIDES, (preset, method), values)
        _identity_of.cache_clear()

    yield change
    monkeypatch.undo()
    _identity_of.cache_clear()  # of runs as they were under these presets


def _row(block, label):
    return next(row for row in block.rows if row.label == label)


def test_table_1_shows_mean_deviation_paper_and_averages_what_is_there(setup, archive_of):
    table = lay_out(TABLES["1"], setup)
    values = {
        ("ham", "cifar100", 1): 40.0,
        ("ham", "cifar100", 2): 44.0,
        ("ham", "tiny_imagenet", 1): 60.0,
        ("ham", "tiny_imagenet", 2): 62.0,
        ("finetune", "cifar100", 1): 2.0,
    }
    runs = {(c.method, c.benchmark, c.seed): c for c in runs_of(table)}
    filled = fill_with_notes(
        table, setup, archive_of(*[(runs[k], {"aa": v}) for k, v in values.items()])
    )
    (block,) = filled.blocks
    titles = [column.title for column in block.columns]
    assert titles[-1] == "Average (CIFAR-100, Tiny-ImageNet)"
    ham, cub, _tiny, average = _row(block, "HAM").cells
    assert (ham.mean, ham.std, ham.n) == (42.0, statistics.stdev([40, 44]), 2)
    assert ham.paper == Value(71.78, 2.24)
    assert cub.no_data and cub.mean is None and cub.paper == Value(55.17, 1.04)
    assert (average.mean, average.n) == (51.5, 2)
    assert average.paper.mean == pytest.approx((71.78 + 83.29) / 2)
    finetune = _row(block, "Fine-tuning").cells
    assert (finetune[0].mean, finetune[0].missing) == (2.0, 1)
    assert finetune[2].mean is None and finetune[3].mean is None
    assert _row(block, "HAM").best == (False,) * 4  # nothing else has both seeds
    assert any("5 of 12 finished in 19 min, 7 missing" in note for note in filled.notes)
    assert not any("data root" in note for note in filled.notes)  # a table looks at records only
    assert any("5000 test images" in note for note in filled.notes)


@pytest.mark.parametrize(("single", "said"), [(0, []), (2, ["CIFAR-100, 50 tasks: 2"])])
def test_tasks_of_one_class_are_named_where_they_changed_the_loss(single, said, setup, archive_of):
    table = lay_out(TABLES["1"], setup)
    run = next(c for c in runs_of(table) if (c.method, c.benchmark) == ("ham", "cifar100"))
    scopes = ["seen_frozen"] * single + ["current"] * (50 - single)
    notes = fill_with_notes(table, setup, archive_of((run, {"scope": scopes}))).notes
    found = [note.partition(" have one class")[0] for note in notes if "one class" in note]
    assert found == said


@pytest.mark.parametrize(("preset", "seen"), [("cpu", True), ("study", True), ("smoke", False)])
def test_table_1_says_what_a_pre_trained_backbone_has_seen(with_setup, archive_of, preset, seen):
    setup = with_setup(preset=preset)
    notes = fill_with_notes(lay_out(TABLES["1"], setup), setup, archive_of()).notes
    assert any("has seen these very images" in note for note in notes) == seen


@pytest.mark.parametrize(
    ("asked", "size"),
    [({}, 96), ({"image_size": 224}, 224), ({"backbone": "embedded"}, 160)],
)
def test_a_table_says_the_size_of_its_images(with_setup, archive_of, asked, size):
    setup = with_setup(preset="study", **asked)
    notes = fill_with_notes(lay_out(TABLES["methods"], setup), setup, archive_of()).notes
    assert f", {size} px; mean" in notes[0]
    assert not any("image_size" in note for note in notes)


def test_only_tables_with_values_of_the_paper_speak_of_them(setup, archive_of):
    def about(name):
        notes = fill_with_notes(lay_out(TABLES[name], setup), setup, archive_of()).notes
        return any("its values are beside ours" in note for note in notes)

    assert about("1") and not about("pam") and not about("slao")


def test_paper_values_stand_only_beside_fifty_tasks(with_setup, archive_of):
    table = fill(lay_out(TABLES["1"], with_setup(tasks=(10, 50))), archive_of())
    ham = _row(table.blocks[0], "HAM").cells
    assert [cell.paper is not None for cell in ham] == [False, True] * 3


@pytest.mark.parametrize("shown", [3, 6])
def test_the_order_of_methods_is_compared_with_the_paper_s(shown, with_setup, archive_of):
    methods = ("finetune", "ewc", "linear", "inflora", "sd_lora", "ham")[:shown]
    setup = with_setup(methods=methods, benchmarks=("cifar100",), seeds=(1,))
    table = lay_out(TABLES["1"], setup)
    ours = {
        "finetune": 3.0,
        "ewc": 2.0,
        "linear": 40.0,
        "inflora": 55.0,
        "sd_lora": 54.0,
        "ham": 56.0,
    }
    runs = [c for c in runs_of(table) if "space" not in c.options]
    notes = fill_with_notes(table, setup, archive_of(*[(c, {"aa": ours[c.method]}) for c in runs]))
    # ranks here 2 1 3 5 4 6, in the paper 1 2 4 3 5 6: 1 - 6 (1 + 1 + 1 + 4 + 1 + 0) / (6 * 35)
    said = [note for note in notes.notes if "rank correlation" in note]
    assert len(said) == (shown == 6)
    assert all("6 rows stand" in note and "this one is 0.77 " in note for note in said)


def test_best_forgetting_is_the_smallest_and_the_bound_never_leads(with_setup, archive_of):
    setup = with_setup(methods=("ham", "lora", "joint"), benchmarks=("cifar100",), seeds=(1,))
    values = {"ham": 5.0, "lora": 9.0, "joint": None}
    table = lay_out(TABLES["2"], setup)
    archive = archive_of(*[(c, {"fm": values[c.method]}) for c in runs_of(table)])
    block = fill(table, archive).blocks[0]
    assert [row.best[0] for row in block.rows] == [True, False, False]
    aa = fill(
        lay_out(TABLES["1"], setup),
        archive_of(
            *[
                (c, {"aa": 90.0 - i})
                for i, c in enumerate(sorted(runs_of(table), key=lambda c: c.method != "joint"))
            ]
        ),
    ).blocks[0]
    assert not aa.rows[2].best[0] and aa.rows[2].cells[0].mean == 90.0


def test_two_heads_are_two_blocks_and_a_readout_stands_in_its_own(with_setup):
    setup = with_setup(heads=("linear", "ridge"), methods=("ham", "frozen", "ncm", "ridge"))
    first, second = lay_out(TABLES["1"], setup).blocks
    assert [row.cells[0].runs[0].method for row in first.rows] == [
        "ham",
        "frozen",
        "ncm",
    ]
    assert [row.cells[0].runs[0].method for row in second.rows] == [
        "ham",
        "frozen",
        "ridge",
    ]


def test_table_1_by_default_has_the_papers_methods_in_the_papers_order(with_setup):
    block = lay_out(TABLES["1"], with_setup(methods=None)).blocks[0]
    methods = dict.fromkeys(row.cells[0].runs[0].method for row in block.rows)
    known = [name for name in paper.METHODS if name in METHODS]
    assert list(methods)[: len(known)] == known


def test_failed_runs_are_shown_as_such(with_setup, shelf):
    setup = with_setup(benchmarks=("cifar100",), methods=("ham",), seeds=(1, 2))
    table = lay_out(TABLES["1"], setup)
    first, second = runs_of(table)
    shelf.put(first, aa=40.0)
    shelf.fail(second)
    filled = fill_with_notes(table, setup, read_archive(shelf.folder))
    cell = filled.blocks[0].rows[0].cells[0]
    assert (cell.mean, cell.n, cell.failed, cell.missing) == (40.0, 1, 1, 0)
    assert any("failed after 3 of 50 tasks: ham" in note for note in filled.notes)
    assert any("out of memory" in note for note in filled.notes)


def test_records_from_elsewhere_make_a_missing_run_a_dash(with_setup, archive_of):
    setup = with_setup(benchmarks=("cub200",), seeds=(1,))
    table = lay_out(TABLES["1"], setup)
    _finetune, ham = runs_of(table)
    empty = fill(table, archive_of()).blocks[0]
    assert all(row.cells[0].no_data for row in empty.rows)
    some = fill(table, archive_of((ham, {}))).blocks[0]
    assert not any(row.cells[0].no_data for row in some.rows)


def test_methods_table_has_all_numbers_of_a_run_beside_the_paper_at_50_tasks(shelf, with_setup):
    setup = with_setup(seeds=(1,), methods=("ham",), heads=("linear",))
    table = lay_out(TABLES["methods"], setup)
    ten, fifty = table.blocks
    assert "10 tasks" in ten.title and "50 tasks" in fifty.title
    for block, paper_value in ((ten, None), (fifty, 71.78)):
        (row,) = block.rows
        config = row.cells[0].runs[0]
        shelf.put(config, aa=61.5, fm=7.25, trainable_parameters=[11, 12])
        found = [cell.fill(read_archive(shelf.folder)) for cell in row.cells]
        assert [s.mean for s in found] == [61.5, 7.25, 2.0, 1.0, 0.012, config.n_tasks]
        assert (found[0].paper.mean if found[0].paper else None) == paper_value
        thousands = [c for c in block.columns if "thousands" in c.title]
        assert len(thousands) == 2 and not any(c.deviation for c in thousands)


def test_rates_of_single_methods_are_told(with_setup, rates):
    rates("cpu", "ham", {"lr": 3e-4})
    setup = with_setup(seeds=(1,), methods=("ham", "l2p"), heads=("linear",))
    notes = fill_with_notes(lay_out(TABLES["1"], setup), setup, Archive()).notes
    assert any("0.0003 for ham" in note for note in notes)
    other = with_setup(seeds=(1,), methods=("ham",), heads=("linear",), options={"lr": 1e-3})
    notes = fill_with_notes(lay_out(TABLES["1"], other), other, Archive()).notes
    assert not any("one grid" in note for note in notes)


def test_options_that_the_preset_moves_are_told_unless_one_was_asked_for(with_setup, rates):
    rates("study", "ties", {"lr": 2e-3, "density": 0.5})
    common = {"seeds": (1,), "heads": ("linear",), "methods": ("ham", "ties"), "preset": "study"}
    for given, told in (({}, ["ties density 0.5"]), ({"density": 0.1}, [])):
        setup = with_setup(**common, method_options={"ties": given} if given else {})
        notes = fill_with_notes(lay_out(TABLES["1"], setup), setup, Archive()).notes
        found = [note.partition("same grid: ")[2] for note in notes if "same grid" in note]
        assert found == told


def test_methods_without_a_grid_are_told(with_setup, rates):
    rates("study", "ties", None)
    names = ("ham", "ties", "frozen", "ridge")
    setup = with_setup(seeds=(1,), methods=names, heads=("linear",), preset="study")
    notes = fill_with_notes(lay_out(TABLES["1"], setup), setup, Archive()).notes
    assert any(note.endswith("not yet from the grid: ties") for note in notes)
    other = with_setup(
        seeds=(1,), methods=names, heads=("linear",), preset="study", options={"lr": 1e-3}
    )
    notes = fill_with_notes(lay_out(TABLES["1"], other), other, Archive()).notes
    assert not any("grid" in note for note in notes)
    assert "learning rate 0.001: asked for here, in place of each method's own" in notes


def test_the_table_of_methods_has_every_one_once(with_setup):
    setup = with_setup(methods=None, seeds=(1,), heads=("linear", "ridge"))
    linear, ridge = (b for b in lay_out(TABLES["methods"], setup).blocks if "10 tasks" in b.title)
    methods = {row.cells[0].seeds[0][0].method for row in linear.rows}
    assert methods == set(METHODS) - {"ncm", "ridge"}  # which are `frozen` under these heads
    assert len(ridge.rows) == len(linear.rows) - 1  # all but `independent`


def test_records_with_changes_that_no_commit_holds_are_told(with_setup, archive_of):
    setup = with_setup(methods=("ham",), benchmarks=("cifar100",))
    runs = setup.runs("ham", benchmark="cifar100", n_tasks=50, head="linear")
    archive = archive_of((runs[0], {"clean": False}), (runs[1], {"clean": True}))
    notes = fill_with_notes(lay_out(TABLES["1"], setup), setup, archive).notes
    assert "changed: 1 records were made with changes that no commit holds" in notes


def test_the_table_of_heads_has_a_column_for_each(with_setup, archive_of):
    setup = with_setup(heads=None, methods=("ham", "linear"), seeds=(1,))
    runs = setup.runs("ham", benchmark="cifar100", n_tasks=10, head="lda_drift")
    archive = archive_of((runs[0], {"aa": 61.5}))
    first, _ = fill(lay_out(TABLES["heads"], setup), archive).blocks
    assert first.title == "CIFAR-100, 10 tasks" and len(first.columns) == 5
    assert [row.label for row in first.rows] == ["Linear merging", "HAM"]
    assert first.rows[1].cells[4].mean == 61.5


def test_a_trained_network_has_a_row_at_ham_s_rate_where_its_own_is_another(
    setup, archive_of, rates
):
    rates("study", "ham", {"lr": 6e-4})
    rates("study", "finetune", {"lr": 6e-5})
    rates("study", "ewc", {"lr": 6e-4})
    asked = replace(setup, preset="study", methods=("finetune", "ewc", "ham"))
    labels = [row.label for row in lay_out(TABLES["1"], asked).blocks[0].rows]
    assert labels == ["Fine-tuning", "Fine-tuning at HAM's rate", "EWC", "HAM"]
    table = lay_out(TABLES["1"], replace(asked, seeds=(1,), benchmarks=("cifar100",)))
    rates = [resolve_config(run).options["lr"] for run in runs_of(table)]
    assert rates == [6e-5, 6e-4, 6e-4, 6e-4]
    # the paper trains them at HAM's rate: its values stand there, in Table 1 and in `reported`
    for name in ("1", "reported"):
        sheet = lay_out(TABLES[name], replace(asked, benchmarks=("cifar100",)))
        rows = fill(sheet, archive_of()).blocks[0].rows
        printed = {row.label: row.cells[0].paper is not None for row in rows}
        rest = {"EWC": True, "HAM": True, "Fine-tuning at HAM's rate": True}
        assert printed == ({"Fine-tuning": False} if name == "1" else {}) | rest, name
    given = replace(asked, options={"lr": 0.1})
    assert len(lay_out(TABLES["1"], given).blocks[0].rows) == 3
