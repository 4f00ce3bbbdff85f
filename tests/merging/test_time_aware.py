"""SLAO's falling merge weight."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.merging.time_aware import (
    check_merge_weight,
    moved_towards,
    time_aware_weight,
)


def shares(count: int, weight) -> list[float]:
    """What each of ``count`` tasks weighs in the end: a merge of unit vectors."""
    merged = torch.zeros(count, dtype=torch.float64)
    for task, newest in enumerate(torch.eye(count, dtype=torch.float64), 1):
        merged = moved_towards(merged, newest, time_aware_weight(task, weight))
    return merged.tolist()


def test_after_five_tasks_the_weights_are_those_worked_out_by_hand():
    assert shares(5, "sqrt") == pytest.approx([0.034, 0.083, 0.160, 0.276, 0.447], abs=5e-4)
    assert shares(5, "inverse") == pytest.approx([0.2] * 5)
    assert shares(3, 0.5) == pytest.approx([0.25, 0.25, 0.5])
    assert shares(3, 1.0) == [0, 0, 1]


def test_the_merge_moves_every_entry_by_the_weight():
    merged, newest = torch.randn(2, 3, 4, dtype=torch.float64)
    expected = [
        [m + 0.3 * (n - m) for m, n in zip(*rows)] for rows in zip(merged.tolist(), newest.tolist())
    ]
    found = moved_towards(merged, newest, 0.3)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(moved_towards(merged, newest, 1.0), newest)


def test_weights_that_are_none_are_refused():
    with pytest.raises(UnknownNameError, match="merge_weight must be one of inverse, sqrt, but"):
        check_merge_weight("square")
    for value in (0.0, 1.1, -0.5):
        with pytest.raises(OptionError, match="merge_weight must be above 0 and at most 1"):
            check_merge_weight(value)
    for value in ("sqrt", "inverse", 1.0, 0.01):
        check_merge_weight(value)
