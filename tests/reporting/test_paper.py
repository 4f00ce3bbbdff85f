"""The paper's values, checked against the paper's own arithmetic."""

from __future__ import annotations

import math

import pytest

from avalanche_ham.reporting import paper

SLIPPED = {("finetune", 1.65), ("coda_prompt", 42.09)}


def _row_means(table: paper.Table) -> dict[str, float]:
    return {m: sum(row[d].mean for d in paper.DATA_SETS) / 3 for m, row in table.items()}


def test_averages_of_table_1_check_but_for_the_two_known_slips():
    wrong = {
        (method, round(mean, 2))
        for method, mean in _row_means(paper.TABLE_1).items()
        if abs(mean - paper.TABLE_1[method][paper.AVERAGE].mean) > 0.011
    }
    assert wrong == SLIPPED


def test_all_averages_of_table_2_check():
    for method, mean in _row_means(paper.TABLE_2).items():
        assert mean == pytest.approx(paper.TABLE_2[method][paper.AVERAGE].mean, abs=0.011)


@pytest.mark.parametrize("table", [paper.TABLE_1, paper.TABLE_2], ids=["AA", "FM"])
def test_deviation_of_an_average_is_that_of_independent_errors(table):
    for row in table.values():
        expected = math.sqrt(sum(row[d].std ** 2 for d in paper.DATA_SETS)) / 3
        assert row[paper.AVERAGE].std == pytest.approx(expected, abs=0.02)


def test_tables_1_and_2_have_the_same_thirteen_methods():
    assert list(paper.TABLE_1) == list(paper.TABLE_2)
    assert len(paper.METHODS) == 13


def test_highlights_as_the_paper_states_them():
    best = {d: max(paper.TABLE_1, key=lambda m: paper.TABLE_1[m][d].mean) for d in paper.DATA_SETS}
    assert best == {"cifar100": "ham", "cub200": "ham", "tiny_imagenet": "sema"}
    assert paper.TABLE_1["ham"]["cifar100"] == (71.78, 2.24)
    assert paper.TABLE_2["ham"]["tiny_imagenet"] == (5.32, 0.45)


def test_known_slip_of_dual_prompt_forgetting_least():
    rows = paper.TABLE_2
    assert rows["l2p"]["cub200"] < rows["dual_prompt"]["cub200"]
    assert rows["ham"]["tiny_imagenet"] < rows["dual_prompt"]["tiny_imagenet"]
    assert min(rows, key=lambda m: rows[m][paper.AVERAGE]) == "dual_prompt"


def test_table_3_advantages_are_differences_to_the_last_digit():
    for similar, orthogonal, advantage in paper.TABLE_3.values():
        assert similar - orthogonal == pytest.approx(advantage, abs=0.0101)
    assert paper.TABLE_3["cifar100", 50][0] != paper.TABLE_1["ham"]["cifar100"].mean


def test_table_4_averages_reproduce():
    for column, printed in enumerate(paper.TABLE_4_AVERAGE, 1):
        values = [row[column] for row in paper.TABLE_4.values()]
        assert sum(values) / len(values) == pytest.approx(printed, abs=0.0051)
    for _, own, group, gain in paper.TABLE_4.values():
        assert group - own == pytest.approx(gain)
    assert [row[0] for row in paper.TABLE_4.values()].count(0) == 5


def test_retained_fractions_give_the_printed_parameters():
    full = 12 * 16 * (768 + 2304) / 1e6  # rank 16 on the fused qkv of twelve blocks
    assert 10 * full == pytest.approx(paper.TABLE_4_PARAMETERS[0], abs=0.005)
    for keep, (millions, factor, _) in paper.RETENTION.items():
        assert 10 * full * keep == pytest.approx(millions, abs=0.005)
        assert 1 / keep == pytest.approx(factor, abs=0.005)
    assert paper.RETENTION[0.9][2] == paper.RETENTION[0.1][2]  # the known slip


def test_groups_merging_and_lengths_share_the_default_run():
    assert paper.GROUPS[10][0] == paper.MERGING["linear"] == paper.HAM_BY_LENGTH[10]
    gain = paper.GROUPS[20][0].mean - paper.GROUPS[20][1].mean
    assert gain == pytest.approx(3.64)  # the text says 0.96


def test_every_table_has_its_list_of_slips():
    assert set(paper.SLIPS) == {"1", "2", "3", "4", "5", "6", "7"}
