"""The table of two methods against each other, from made-up records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_records import made_up
from scipy import stats

from avalanche_ham.cli.main import main
from avalanche_ham.evaluation.significance import Interval, over_images
from avalanche_ham.reporting.compare import interval_words, table_against, table_compare
from avalanche_ham.reporting.comparison import METHODS_TABLE
from avalanche_ham.reporting.formats import markdown
from avalanche_ham.reporting.layout import fill, lay_out, runs_of
from avalanche_ham.reporting.noise import interval_over_images
from avalanche_ham.reporting.notes import fill_with_notes
from avalanche_ham.runs.identity import identity_of
from avalanche_ham.runs.packed import pack

CELLS = {"benchmark": "cifar100", "n_tasks": 10}


@pytest.fixture
def two(with_setup):
    return with_setup(methods=("ham", "lora"), benchmarks=("cifar100",), tasks=(10,))


def scored(setup, archive_of, scores, rights=None):
    """An archive with the AA of each (method, seed), and which images were right."""
    pairs = []
    for method in ("ham", "lora"):
        for run in setup.runs(method, head="linear", **CELLS):
            key = (method, run.seed)
            if key in scores:
                right = None if rights is None else pack(rights[key])
                pairs.append((run, {"aa": scores[key], "right": right}))
    return archive_of(*pairs)


def cells_of(setup, archive):
    (block,) = fill(lay_out(table_compare, setup), archive).blocks
    (row,) = block.rows
    return row.cells


def test_a_method_with_a_head_of_its_own_stands_under_that_head_alone(with_setup):
    setup = with_setup(methods=("ham", "ncm", "ridge"), benchmarks=("cifar100",), tasks=(10,),
                       heads=None)  # fmt: skip
    blocks = lay_out(table_against, setup).blocks
    rows = {block.title: [row.label for row in block.rows] for block in blocks}
    ncm, ridge = "class means, frozen backbone", "ridge readout, frozen backbone"
    under = {head: next(labels for title, labels in rows.items() if head in title)
             for head in ("linear head", "ridge readout")}  # fmt: skip
    assert under == {"linear head": [ncm], "ridge readout": [ridge]}


def test_a_method_with_a_head_of_its_own_has_a_row_where_heads_are_columns(with_setup, archive_of):
    from avalanche_ham.reporting.comparison import HEADS_TABLE

    setup = with_setup(methods=("ncm", "ham"), benchmarks=("cifar100",), tasks=(10,), heads=None)
    sheet = lay_out(HEADS_TABLE, setup)
    filled = fill(sheet, archive_of(*((run, {"aa": 42.0}) for run in runs_of(sheet))))
    (block,) = filled.blocks
    shown = {row.label: [cell.mean for cell in row.cells] for row in block.rows}
    assert shown["class means, frozen backbone"] == [None, 42.0, None, None, None]
    assert shown["HAM"] == [42.0] * 5


def test_the_difference_is_paired_by_seed_and_its_interval_is_scipy_s(two, archive_of):
    scores = {("ham", 1): 60.0, ("ham", 2): 66.0, ("lora", 1): 57.0, ("lora", 2): 62.0}
    ours, theirs, difference, seeds, _ = cells_of(two, scored(two, archive_of, scores))
    assert (ours.mean, theirs.mean, difference.mean) == (63.0, 59.5, 3.5)
    low, high = stats.ttest_rel([60, 66], [57, 62]).confidence_interval(0.95)
    assert seeds.text == f"{low:+.2f} to {high:+.2f}"


def test_every_method_is_set_against_the_first_that_was_named(two, archive_of):
    scores = {("ham", 1): 60.0, ("ham", 2): 66.0, ("lora", 1): 57.0, ("lora", 2): 62.0}
    archive = scored(two, archive_of, scores)
    setup = replace(two, heads=("linear",))
    for base, sign in (("ham", -1), ("lora", 1)):
        other = "one LoRA" if base == "ham" else "HAM"
        asked = replace(setup, methods=(base, *{"ham", "lora"} - {base}))
        (row,) = fill(lay_out(table_against, asked), archive).blocks[0].rows
        assert row.label == other and row.cells[1].mean == sign * 3.5
        low, high = sorted(
            sign * x for x in stats.ttest_rel([60, 66], [57, 62]).confidence_interval()
        )
        assert row.cells[2].text == f"{low:+.2f} to {high:+.2f}"
    labels = [
        row.label for row in lay_out(table_against, replace(setup, methods=None)).blocks[0].rows
    ]
    assert "HAM" not in labels and labels[-1] == "HAM+" and len(labels) == len(set(labels)) > 30


def test_closed_form_heads_are_set_against_the_first_one_s_trained_head(two, archive_of):
    setup = replace(two, heads=("linear", "ridge"), methods=("ham", "lora"))
    runs = [
        (replace(run, seed=seed, head=head), {"aa": aa + seed})
        for method, head, aa in (
            ("ham", "linear", 40.0),
            ("ham", "ridge", 55.0),
            ("lora", "ridge", 50.0),
        )
        for run in setup.runs(method, benchmark="cifar100", n_tasks=10, head=head)[:1]
        for seed in (1, 2)
    ]
    asked = replace(setup, tasks=(10,), benchmarks=("cifar100",))
    blocks = fill(lay_out(table_against, asked), archive_of(*runs)).blocks
    (found,) = (block for block in blocks if "under its trained head" in block.title)
    assert "ridge" in found.title
    assert [(r.label, r.cells[1].mean) for r in found.rows] == [("HAM", 15.0), ("one LoRA", 10.0)]


def test_a_difference_that_every_seed_shares_is_marked(two, archive_of):
    scores = {("ham", 1): 60.0, ("ham", 2): 66.0, ("lora", 1): 57.0, ("lora", 2): 63.1}
    assert cells_of(two, scored(two, archive_of, scores))[3].text.endswith("*")


def test_the_same_difference_in_all_seeds_leaves_the_word_to_the_images(two, archive_of):
    draw = np.random.default_rng(0)
    scores = {("ham", 1): 60.3, ("ham", 2): 66.1, ("lora", 1): 57.52, ("lora", 2): 63.32}
    rights = {key: draw.random(1000) < aa / 100 for key, aa in scores.items()}
    *_, seeds, images = cells_of(two, scored(two, archive_of, scores, rights))
    assert seeds.text == "the same difference in 2 seeds"
    assert " to " in images.text


def test_a_bound_at_0_has_no_sign():
    for low, high, words in (
        (-0.001, 1.2, "0.00 to +1.20"),
        (-0.0, 0.0, "0.00 to 0.00"),
        (-2.5, -1.0, "-2.50 to -1.00 *"),
    ):
        assert interval_words(lambda found: Interval(low, high))([]).text == words  # noqa: B023


def recorded(setup, *places):
    """What an archive with a record of each (method, data set, length, head) is asked for."""
    runs = (setup.runs(m, benchmark=b, n_tasks=n, head=h)[0] for m, b, n, h in places)
    return frozenset(identity_of(run).asked for run in runs)


def places_of(setup):
    sheet = lay_out(table_compare, setup)
    runs = {(run.benchmark, run.n_tasks, run.head) for run in runs_of(sheet)}
    assert all(block.rows for block in sheet.blocks)
    return runs


def test_it_takes_place_where_both_have_records(with_setup):
    setup = with_setup(methods=("ham", "lora"), heads=None)
    known = recorded(
        setup,
        *((method, "digits", 3, "ridge") for method in ("ham", "lora")),
        *((method, "digits", 5, "linear") for method in ("ham", "lora")),
        *((method, "cifar100", 10, "ncm") for method in ("ham", "lora")),
        ("ham", "svhn", 5, "linear"),
        ("frozen", "svhn", 5, "linear"),
        ("lora", "digits", 4, "lda"),
    )
    there = {("digits", 3, "ridge"), ("digits", 5, "linear"), ("cifar100", 10, "ncm")}
    assert places_of(with_setup(methods=("ham", "lora"), heads=None, records=known)) == there


@pytest.mark.parametrize(
    ("named", "there"),
    [
        ({"tasks": (3,)}, {("digits", 3, "ridge")}),
        ({"heads": ("linear",)}, {("digits", 5, "linear")}),
        ({"heads": ("linear", "ncm")}, {("digits", 5, "linear"), ("digits", 5, "ncm")}),
        ({"benchmarks": ("digits",), "tasks": (4,), "heads": ("lda",)}, {("digits", 4, "lda")}),
    ],
)
def test_what_the_user_names_stays(with_setup, named, there):
    setup = with_setup(methods=("ham", "lora"), heads=None)
    places = (("digits", 3, "ridge"), ("digits", 5, "linear"))
    known = recorded(setup, *((m, *place) for m in ("ham", "lora") for place in places))
    given = {"methods": ("ham", "lora"), "heads": None, "records": known, **named}
    assert places_of(with_setup(**given)) == there


def test_a_readout_of_its_own_stands_beside_each_head_of_the_other(with_setup):
    setup = with_setup(methods=("ham", "ncm"), heads=None)
    known = recorded(setup, ("ham", "digits", 3, "ridge"), ("ncm", "digits", 3, "ncm"))
    assert places_of(with_setup(methods=("ham", "ncm"), heads=None, records=known)) == {
        ("digits", 3, "ridge")
    }


def test_without_records_of_both_it_takes_place_where_it_always_did(with_setup):
    setup = with_setup(methods=("ham", "lora"), heads=None)
    one = recorded(setup, ("ham", "digits", 3, "linear"))
    given = {"methods": ("ham", "lora"), "heads": None, "known": frozenset({"digits"})}
    found = places_of(with_setup(**given, records=one))
    assert {place[:2] for place in found} == {("digits", 5)} and len(found) == 8


def test_one_seed_has_no_interval_over_seeds_but_one_over_images(two, archive_of):
    draw = np.random.default_rng(0)
    rights = {("ham", 1): draw.random(1000) < 0.7, ("lora", 1): draw.random(1000) < 0.5}
    archive = scored(two, archive_of, {("ham", 1): 70.0, ("lora", 1): 50.0}, rights)
    *_, seeds, images = cells_of(two, archive)
    assert seeds.text == "seeds in common: 1"
    found = over_images([rights["ham", 1]], [rights["lora", 1]], [[100] * 10])
    assert images.text == f"{found.low:+.2f} to {found.high:+.2f} *"
    assert found.low > 10


def test_why_there_is_no_interval_over_images_is_said(two, archive_of):
    run, other = (two.runs(m, head="linear", **CELLS)[0] for m in ("ham", "lora"))
    a, b = made_up(run, right=pack([True] * 1000)), made_up(other, right=pack([False] * 1000))
    assert interval_over_images([]) == "no pair"
    assert "not on record" in interval_over_images([(a, {**b, "right": None})])
    assert interval_over_images([(a, {**b, "images_digest": "x"})]) == "on different images"
    assert interval_over_images([(a, b)]) == pytest.approx((100.0, 100.0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compare", "ham", "hem"], "did you mean 'ham'"),
        (["1", "--compare", "ham", "lora"], "compare"),
        (["--compare", "ham", "ham"], "compare must be two different methods, but got 'ham'"),
        (["--compare", "ham,lora", "frozen"], "compare must be two different methods"),
        (["compare", "--methods", "lora"], "compare must be two different methods"),
        (["--compare", "ham", "lora", "--methods", "ham"], "compare"),
        ([], "table must be one of 1, 2"),
    ],
)
def test_a_comparison_that_names_no_two_methods_is_refused(words, said, shelf, two, capsys):
    shelf.put(two.runs("ham", head="linear", **CELLS)[0])
    assert main(["table", *words, "--records", str(shelf.folder)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_command_prints_it(shelf, two, capsys):
    for method, aa in (("ham", 60.0), ("lora", 50.0)):
        for run in two.runs(method, head="linear", **CELLS):
            shelf.put(run, aa=aa + run.seed * (1.0 if method == "ham" else 1.001))
    words = ["--records", str(shelf.folder), "--tasks", "10", "--seeds", "1,2", "--head", "linear"]
    assert main(["table", "--compare", "ham", "lora", *words]) == 0
    printed = capsys.readouterr().out
    assert "HAM against one LoRA" in printed
    assert "| 61.50 ± 0.71 | 51.50 ± 0.71 | 10.00 ± 0.00 | +9.99 to +10.00 * |" in printed


def test_a_table_marks_what_may_be_as_good_as_its_best(with_setup, archive_of):
    setup = with_setup(
        methods=("ham", "lora", "frozen", "joint"), benchmarks=("cifar100",), tasks=(10,)
    )
    scores = {"ham": (60.0, 66.0), "lora": (59.9, 61.0), "frozen": (50.0, 56.1), "joint": (80, 80)}
    pairs = [
        (run, {"aa": float(scores[method][run.seed - 1])})
        for method in scores
        for run in setup.runs(method, head="linear", **CELLS)
    ]
    (block,) = fill(lay_out(METHODS_TABLE, setup), archive_of(*pairs)).blocks
    marks = {row.label: (row.best[0], row.near[0]) for row in block.rows}
    assert marks["HAM"] == (True, False)
    assert marks["one LoRA"] == (False, True)  # 0.1 and 5.0 points below
    assert marks["frozen backbone"] == (False, False)  # 10.0 and 9.9 points below
    assert marks["one LoRA on all tasks at once (bound)"] == (False, False)


def test_the_same_difference_in_all_seeds_does_not_prove_the_best_to_be_it(two, archive_of):
    draw, pairs = np.random.default_rng(0), []
    for method, less in (("ham", 0), ("lora", 10)):  # of 1000 images
        for run in two.runs(method, head="linear", **CELLS):
            right = draw.permutation(np.arange(1000) < 600 + 10 * run.seed - less)
            pairs.append((run, {"aa": 60.0 + run.seed - less / 10, "right": pack(right)}))
    (block,) = fill(lay_out(METHODS_TABLE, two), archive_of(*pairs)).blocks
    assert {row.label: row.near[0] for row in block.rows}["one LoRA"]


@pytest.mark.parametrize(("theirs", "near"), [(0.69, True), (0.4, False)])
def test_with_one_seed_the_test_images_decide(with_setup, archive_of, theirs, near):
    setup = with_setup(seeds=(1,), methods=("ham", "lora"), benchmarks=("cifar100",), tasks=(10,))
    draw, pairs = np.random.default_rng(0), []
    for method, share in (("ham", 0.7), ("lora", theirs)):
        (run,) = setup.runs(method, head="linear", **CELLS)
        right = draw.permutation(np.arange(1000) < 1000 * share)
        pairs.append((run, {"aa": 100 * share, "right": pack(right)}))
    sheet = fill_with_notes(lay_out(METHODS_TABLE, setup), setup, archive_of(*pairs))
    assert {row.label: row.near[0] for row in sheet.blocks[0].rows}["one LoRA"] is near
    assert ("≈" in markdown(sheet)) is near
    assert any(note.startswith("≈") for note in sheet.notes) is near
