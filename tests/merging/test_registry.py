"""Merge rules by name, with what they share checked for all of them."""

from __future__ import annotations

import pytest

from avalanche_ham.errors import OptionError
from avalanche_ham.merging.registry import RULES, make_rule


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("density", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_density_that_is_no_fraction_is_refused_even_where_it_is_not_used(name, density):
    with pytest.raises(OptionError, match="density must be at least 0 and at most 1"):
        make_rule(name, density=density)
