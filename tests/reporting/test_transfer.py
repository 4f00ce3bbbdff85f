"""What PAM's and SLAO's tables read from a record."""

from __future__ import annotations

import pytest

from avalanche_ham.reporting.transfer import forgetting_over_time, lines_of

MATRIX = [
    [0.9, None, None, None],
    [0.7, 0.8, None, None],
    [0.6, 0.9, 0.7, None],
    [0.5, 0.4, 0.6, 0.8],
]


@pytest.mark.parametrize(
    ("share", "lost"),
    [
        (0.25, None),  # after the first of four tasks nothing is older
        (0.5, 20.0),
        (0.6, (30 - 10) / 2),  # rounded up to three tasks; the second has gained
        (0.75, (30 - 10) / 2),
        (1.0, (40 + 40 + 10) / 3),
    ],
)
def test_forgetting_is_what_earlier_tasks_have_lost_by_then(share, lost):
    found = forgetting_over_time(share)({"accuracy_matrix": MATRIX})
    assert found == (None if lost is None else pytest.approx(lost))


def test_forgetting_is_not_known_where_an_accuracy_is_not():
    held = [[None, *MATRIX[0][1:]], *MATRIX[1:]]
    assert forgetting_over_time(1.0)({"accuracy_matrix": held}) is None


def test_at_the_end_it_is_minus_the_backward_transfer():
    from avalanche_ham.evaluation.metrics import backward_transfer

    found = forgetting_over_time(1.0)({"accuracy_matrix": MATRIX})
    assert found == pytest.approx(-backward_transfer(MATRIX))


def test_rows_are_those_of_methods_that_are_there(setup):
    rows = lines_of("pam", "no_such_method", "lora")(setup, None)
    assert [row.method for row in rows] == ["pam", "lora"] and rows[1].label == "one LoRA"
