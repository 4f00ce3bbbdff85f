"""The table of two methods against each other, from made-up records."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_records import made_up
from scipy import stats

from avalanche_ham.cli.main import main
from avalanche_ham.evaluation.significance import over_images
from avalanche_ham.reporting.compare import table_compare
from avalanche_ham.reporting.comparison import METHODS_TABLE
from avalanche_ham.reporting.formats import markdown
from avalanche_ham.reporting.layout import fill, lay_out
from avalanche_ham.reporting.noise import interval_over_images
from avalanche_ham.reporting.notes import fill_with_notes
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


def test_the_difference_is_paired_by_seed_and_its_interval_is_scipy_s(two, archive_of):
    scores = {("ham", 1): 60.0, ("ham", 2): 66.0, ("lora", 1): 57.0, ("lora", 2): 62.0}
    ours, theirs, difference, seeds, _ = cells_of(two, scored(two, archive_of, scores))
    assert (ours.mean, theirs.mean, difference.mean) == (63.0, 59.5, 3.5)
    low, high = stats.ttest_rel([60, 66], [57, 62]).confidence_interval(0.95)
    assert seeds.text == f"{low:+.2f} to {high:+.2f}"


def test_a_difference_that_every_seed_shares_is_marked(two, archive_of):
    scores = {("ham", 1): 60.0, ("ham", 2): 66.0, ("lora", 1): 57.0, ("lora", 2): 63.1}
    assert cells_of(two, scored(two, archive_of, scores))[3].text.endswith("*")


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
        (["--compare", "ham", "lora", "--methods", "ham"], "compare"),
        ([], "table must be one of 1, 2"),
    ],
)
def test_a_comparison_that_names_no_two_methods_is_refused(words, said, shelf, two, capsys):
    shelf.put(two.runs("ham", head="linear", **CELLS)[0])
    assert main(["table", *words, "--records", str(shelf.folder)]) == 2
    assert said in capsys.readouterr().err


def test_the_command_prints_it(shelf, two, capsys):
    for method, aa in (("ham", 60.0), ("lora", 50.0)):
        for run in two.runs(method, head="linear", **CELLS):
            shelf.put(run, aa=aa + run.seed)
    words = ["--records", str(shelf.folder), "--tasks", "10", "--seeds", "1,2", "--head", "linear"]
    assert main(["table", "--compare", "ham", "lora", *words]) == 0
    printed = capsys.readouterr().out
    assert "HAM against one LoRA" in printed
    assert "| 61.50 ± 0.71 | 51.50 ± 0.71 | 10.00 ± 0.00 | +10.00 to +10.00 * |" in printed


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
