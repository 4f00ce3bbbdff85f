"""Merge rules by name, each with its own arguments."""

from __future__ import annotations

import pytest

from avalanche_ham.errors import OptionError
from avalanche_ham.merging import Dare, Linear, MagMax, Tall, Ties
from avalanche_ham.merging.registry import RULES


@pytest.mark.parametrize(
    "name, options, rule",
    [
        ("linear", {}, Linear()),
        ("ties", {"density": 0.4}, Ties(0.4)),
        ("dare", {"density": 0.4, "seed": 3}, Dare(0.4, 3)),
        ("dare_ties", {"density": 0.4, "seed": 3}, Dare(0.4, 3, then=Ties(1.0))),
        ("dare_ties", {"majority": "frequency"}, Dare(then=Ties(1.0, "frequency"))),
        ("magmax", {}, MagMax()),
        ("tall", {"mask_threshold": 0.4, "shared_by": 1}, Tall(0.4, 1)),
    ],
)
def test_rules_have_names(name, options, rule):
    assert RULES[name](**options) == rule


@pytest.mark.parametrize("name", ["ties", "dare", "dare_ties"])
@pytest.mark.parametrize("density", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_density_that_is_no_fraction_is_refused(name, density):
    with pytest.raises(OptionError, match="density must be at least 0 and at most 1"):
        RULES[name](density=density)
