"""PAM's tables from made-up records."""

from __future__ import annotations

import pytest

from avalanche_ham.reporting import tables
from avalanche_ham.reporting.layout import fill, lay_out, runs_of
from avalanche_ham.reporting.pam import COMPARED, EVOLVING
from avalanche_ham.runs.config import resolve_config


@pytest.fixture
def sheet(with_setup):
    return lay_out(tables.TABLES["pam"], with_setup(seeds=(1, 2, 3), methods=None))


def block_of(sheet, title: str):
    (found,) = [block for block in sheet.blocks if block.title.startswith(title)]
    return found


def test_all_of_the_paper_s_ablations_are_there(sheet):
    titles = [block.title.partition(", CIFAR-100, 10 tasks")[0] for block in sheet.blocks]
    *whole, over_time = titles[1:]
    assert all(title.endswith(", merged whole (damping 1)") for title in whole)
    assert [title.removesuffix(", merged whole (damping 1)") for title in whole] == [
        "Share of each matrix that is aligned",
        "When signs are aligned",
        "Alignment, its substitutes, and alignment without a merge",
        "Start of a task",
        "A task's own accuracy before and after TIES trims it",
        "Rank",
        "Together with LwF and replay",
    ]
    assert over_time == "Forgetting over time (%): first minus present accuracy of earlier tasks"
    runs = list(runs_of(sheet))
    assert all(resolve_config(run) for run in runs)
    assert {run.options.get("rank") for run in runs} == {None, 8, 16, 32, 64, 128}
    assert {run.options.get("align_share") for run in runs} == {None, 0.3, 0.5, 0.7}
    assert {run.seed for run in runs} == {1, 2, 3} and {run.n_tasks for run in runs} == {10}


@pytest.mark.parametrize("name", EVOLVING)
def test_ablations_merge_the_whole_clone_whatever_the_preset_has(name, sheet, with_setup):
    options = [run.options for run in runs_of(sheet) if run.method == name]
    assert ({} in options) == (name in COMPARED)  # among the methods at what the preset has
    assert all(given["damping"] == 1.0 for given in options if given)
    if name == "average":
        changed = [given for given in options if given.keys() - {"damping"}]
        assert {"pull", "merges", "start"} == set().union(*changed) - {"damping"}
    reported = runs_of(lay_out(tables.TABLES["reported"], with_setup(methods=None)))
    found = {run.options["damping"] for run in reported if run.method == name}
    assert found == ({1.0} if name in COMPARED else set())


def test_what_is_added_to_pam_is_compared_at_one_damping(sheet):
    rows = block_of(sheet, "Together").rows
    given = {run.method: run.options for row in rows for run in row.cells[0].runs}
    assert given.keys() == {"lora", "pam", "lora_lwf", "pam_lwf", "lora_er", "pam_er"}
    assert {m for m, options in given.items() if options.get("damping") == 1.0} == {
        "pam", "pam_lwf", "pam_er",
    }  # fmt: skip


def test_blocks_are_as_long_as_the_streams_that_were_asked_for(with_setup):
    table = lay_out(tables.TABLES["pam"], with_setup(seeds=(1,), tasks=(4, 6), methods=None))
    assert {run.n_tasks for run in runs_of(table)} == {4, 6}
    assert len(table.blocks) == 2 * 9


def test_the_random_backbone_of_tests_is_too_narrow_for_large_ranks(with_setup):
    narrow = lay_out(tables.TABLES["pam"], with_setup(backbone="tiny", methods=None))
    ranks = [row.label for row in block_of(narrow, "Rank").rows]
    assert len(ranks) == 6 and not any("64" in label or "128" in label for label in ranks)


def test_zero_shot_is_said_not_to_apply(sheet, archive_of):
    row = fill(sheet, archive_of()).blocks[0].rows[0]
    assert row.label == "Zero-shot" and {cell.text for cell in row.cells} == {"not applicable here"}


def test_misaligned_entries_are_a_mean_over_tasks(sheet, archive_of):
    run = next(
        r for r in runs_of(sheet) if r.method == "pam" and r.options.get("align_share") == 0.3
    )
    archive = archive_of((run, {"groups": {"misaligned": [0.1, 0.3]}}))
    row = block_of(fill(sheet, archive), "Share").rows[0]
    assert row.label == "30%" and row.cells[-1].mean == pytest.approx(20.0)


def test_the_cost_of_trimming_is_the_difference_to_the_accuracy_before(sheet, archive_of):
    run = next(r for r in runs_of(sheet) if r.method == "continual_ties" and not r.options)
    probed = {"trimmed": 72.5, "a_t_where_trimmed": 80.0}
    there = {"a_t": 85.0, "probed": probed, "a_t_merged": 60.0}
    (row,) = block_of(fill(sheet, archive_of((run, there))), "A task's own").rows
    assert [cell.mean for cell in row.cells] == [80.0, 72.5, -7.5, 60.0]
    for found, gap in (({"a_t": 80.0}, "undefined"), ({}, "missing")):
        (row,) = block_of(fill(sheet, archive_of((run, found))), "A task's own").rows
        gaps = [getattr(cell, gap) for cell in row.cells[:3]]
        assert gaps == [{"undefined": 1, "missing": 3}[gap]] * 3


@pytest.fixture
def ridge(with_setup, archive_of):
    """The blocks under the ridge readout, beside those of the linear head."""
    setup = with_setup(seeds=(1,), heads=("linear", "ridge"), methods=None)
    sheet = fill(lay_out(tables.TABLES["pam"], setup), archive_of())
    return [block for block in sheet.blocks if "ridge" in block.title]


def test_what_only_the_linear_head_has_is_said_under_another_one(ridge):
    assert len(ridge) == 9
    for block in ridge:
        for i, column in enumerate(block.columns):
            probes = ("A_t (%)", "A_t from task 2 on (%)", "A_t, trimmed (%)", "change")
            of_linear = column.title in probes
            words = {row.cells[i].text for row in block.rows if row.label != "Zero-shot"}
            assert words == {"linear head only" if of_linear else None}, (block.title, column.title)


def test_the_bound_stands_under_its_own_head(ridge, sheet, with_setup):
    bound = "one LoRA a task, task known (bound)"
    assert bound in [row.label for row in sheet.blocks[0].rows]
    assert bound not in [row.label for row in ridge[0].rows]
    alone = lay_out(tables.TABLES["pam"], with_setup(heads=("ridge",), methods=None)).blocks[0]
    assert f"{bound}, linear head" in [row.label for row in alone.rows]


def test_what_needs_a_vision_language_model_is_said(sheet):
    assert any("CoIN" in n and "videos" in n and "do not apply" in n for n in sheet.notes)


def test_only_the_methods_that_were_asked_for_are_run(with_setup):
    pam = lay_out(tables.TABLES["pam"], with_setup(methods=("pam",)))
    assert {run.method for run in runs_of(pam)} == {"pam"}
    assert [row.label for row in pam.blocks[0].rows] == ["Zero-shot", "PAM"]
    assert [row.label for row in block_of(pam, "Alignment").rows] == [
        "aligned from the global LoRA, merged",
        "aligned, not merged",
    ]
    two = lay_out(tables.TABLES["pam"], with_setup(methods=("tall", "pam_er")))
    assert {run.method for run in runs_of(two)} == {"tall", "pam_er"}
