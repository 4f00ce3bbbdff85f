"""Sec. 3.2.2, Eq. 4."""

import pytest
import torch

from avalanche_ham.errors import OptionError
from avalanche_ham.grouping import running_mean


def test_untouched_scalars_give_the_plain_mean():
    alphas = [0.7, 1.3, 0.2, 2.0]
    group = alphas[0]
    for members, alpha in enumerate(alphas[1:], start=1):
        group = running_mean(group, members, alpha)
        assert group == pytest.approx(sum(alphas[: members + 1]) / (members + 1))


def test_it_weighs_the_group_by_its_members():
    assert running_mean(2.0, 3, 6.0) == 3.0


def test_tensors_stay_tensors():
    mean = running_mean(torch.tensor([2.0, 4.0]), 1, torch.tensor([4.0, 0.0]))
    assert torch.equal(mean, torch.tensor([3.0, 2.0]))


def test_a_group_without_members_has_no_mean():
    with pytest.raises(OptionError, match="members must be at least 1, but got 0"):
        running_mean(1.0, 0, 1.0)
