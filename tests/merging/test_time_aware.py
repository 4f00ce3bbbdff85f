"""SLAO's merge, whose weight falls from task to task."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham.errors import OptionError
from avalanche_ham.merging.time_aware import time_aware_merge


def shares(count: int, weight) -> list[float]:
    """What each of ``count`` tasks weighs in the end: a merge of unit vectors."""
    merged = torch.zeros(count, dtype=torch.float64)
    for task, newest in enumerate(torch.eye(count, dtype=torch.float64), 1):
        merged = time_aware_merge(merged, newest, task=task, weight=weight)
    return merged.tolist()


def test_after_five_tasks_the_weights_are_those_worked_out_by_hand():
    assert shares(5, "sqrt") == pytest.approx([0.034, 0.083, 0.160, 0.276, 0.447], abs=5e-4)
    assert shares(5, "inverse") == pytest.approx([0.2] * 5)
    assert shares(3, 0.5) == pytest.approx([0.25, 0.25, 0.5])
    assert shares(3, 1.0) == [0, 0, 1]


def test_the_merge_moves_every_entry_by_the_weight():
    merged, newest = torch.randn(2, 3, 4, dtype=torch.float64)
    expected = [
        [m + (n - m) / 7**0.5 for m, n in zip(*rows)]
        for rows in zip(merged.tolist(), newest.tolist())
    ]
    found = time_aware_merge(merged, newest, task=7)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(time_aware_merge(merged, newest, task=1), newest)


def test_a_weight_that_is_none_is_called_by_the_option_s_name():
    with pytest.raises(OptionError, match="merge_weight must be above 0 and at most 1"):
        time_aware_merge(torch.zeros(1), torch.zeros(1), task=2, weight=1.5)
