"""SLAO's ablation from made-up records."""

from __future__ import annotations

from avalanche_ham.reporting import tables
from avalanche_ham.reporting.layout import fill, lay_out, runs_of
from avalanche_ham.runs.config import resolve_config


def test_each_row_differs_from_slao_in_what_its_label_says(with_setup):
    runs = list(runs_of(lay_out(tables.TABLES["slao"], with_setup(seeds=(1,), methods=None))))
    of_slao = {tuple(sorted(run.options.items())) for run in runs if run.method == "slao"}
    wanted = (
        {},
        {"merge_weight": "inverse"},
        {"init": "merged"},
        {"init": "random"},
        {"orthonormal": False},  # B merged without the rest
        {"merged": "a"},
        {"merged": "both"},
        {"frozen": "a"},
        {"frozen": "b", "merged": "a"},
    )
    # the paper's weight in all others, whatever the preset has
    paper = {"merge_weight": "sqrt"}
    assert of_slao >= {tuple(sorted({**paper, **options}.items())) for options in wanted}
    assert {"lora", "magmax", "inflora"} <= {run.method for run in runs}
    assert all(resolve_config(run) for run in runs)  # every option is one that there is


def test_columns_read_their_entries_and_the_difference_is_paired(with_setup, archive_of):
    table = lay_out(tables.TABLES["slao"], with_setup(seeds=(1, 2), methods=None))
    values = {((), 1): 50.0, ((), 2): 60.0, ("random", 1): 45.0, ("random", 2): 51.0}
    runs = {
        (c.options.get("init", ()), c.seed): c
        for c in runs_of(table)
        if c.options in ({"merge_weight": "sqrt"}, {"merge_weight": "sqrt", "init": "random"})
    }
    given = {"bwt": -7.0, "fwt": 3.0, "a_t": 80.0, "a_t_merged": 70.0}
    archive = archive_of(*[(runs[key], {"aa": aa, **given}) for key, aa in values.items()])
    (block,) = fill(table, archive).blocks
    row = next(row for row in block.rows if row.label == "fresh start")
    assert [cell.mean for cell in row.cells] == [48.0, -7.0, -7.0, 3.0, 80.0, 70.0]
    titles = [column.title for column in block.columns]
    assert titles[:3] == ["ACC (%)", "ACC minus SLAO's", "BWT (%)"]


def test_only_the_methods_that_were_asked_for_have_rows_and_each_once(with_setup):
    lora = lay_out(tables.TABLES["slao"], with_setup(methods=("lora",)))
    assert [row.label for row in lora.blocks[0].rows] == ["one LoRA"]
    slao = lay_out(tables.TABLES["slao"], with_setup(methods=("slao",)))
    labels = [row.label for row in slao.blocks[0].rows]
    assert labels[0] == "SLAO, weight 1/sqrt(i)" and len(labels) == len({*labels}) == 11


def test_what_only_the_linear_head_has_is_said_under_another_one(with_setup, archive_of):
    setup = with_setup(heads=("linear", "ridge"), methods=None)
    linear, ridge = fill(lay_out(tables.TABLES["slao"], setup), archive_of()).blocks
    place = [column.title for column in linear.columns].index("A_t (%)")
    assert {row.cells[place].text for row in linear.rows} == {None}
    assert {row.cells[place].text for row in ridge.rows} == {"linear head only"}
