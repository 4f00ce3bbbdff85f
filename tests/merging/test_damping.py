"""The weight of each task's adapter in a damped merge."""

from __future__ import annotations

import pytest

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.merging import DAMPINGS, damped_weight


def test_the_first_task_is_whole_whatever_the_damping():
    assert [damped_weight(d, 1) for d in (1, 0.3, 1e-3, *DAMPINGS)] == [1.0] * 5


def test_later_weights_are_the_number_or_fall_with_the_task():
    assert [damped_weight(0.3, t) for t in (2, 3, 50)] == [0.3] * 3
    assert [damped_weight("sqrt", t) for t in (4, 16, 25)] == [1 / 2, 1 / 4, 1 / 5]
    assert [damped_weight("inverse", t) for t in (2, 5, 50)] == [0.5, 0.2, 0.02]


@pytest.mark.parametrize("wrong", [0, -0.1, 1.01, float("nan"), None, True, [0.5]])
def test_a_number_outside_its_range_and_what_is_none_is_refused(wrong):
    with pytest.raises(OptionError, match="damping must be a"):
        damped_weight(wrong, 1)


def test_an_unknown_name_is_refused_with_the_nearest():
    words = "inverse, sqrt or a number in .0, 1., .*did you mean 'inverse'"
    with pytest.raises(UnknownNameError, match=words):
        damped_weight("invers", 2)
