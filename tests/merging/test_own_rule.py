"""A merge rule of one's own: what the merger promises it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from reference import random_update
from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import OptionError
from avalanche_ham.merging import UpdateMerger


@dataclass
class Sum:
    total: Tensor | float = 0.0

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        self.total = self.total + weight * tensor

    def result(self, scale: float) -> Tensor:
        return scale * self.total


@dataclass
class Counting:
    """Adds up, and notes whatever it starts."""

    places: list[str] = field(default_factory=list)

    def start(self, place: str) -> Sum:
        self.places.append(place)
        return Sum()


@pytest.mark.parametrize(
    "space, matrices", [("delta", [""]), ("factors", [".a", ".b"])], ids=["delta", "factors"]
)
def test_each_matrix_is_started_once_however_much_is_added(space, matrices):
    rule = Counting()
    merger = UpdateMerger(rule, space=space)
    for seed in range(3):
        merger.add(random_update(seed))
        merger.result()
    assert rule.places == [layer + m for layer in ("first", "second") for m in matrices]


def test_a_rule_that_draws_at_its_start_gives_every_matrix_its_own_draw():
    class Drawing:
        def __init__(self) -> None:
            self.draws = iter((2.0, 3.0, 5.0, 7.0))

        def start(self, place: str) -> Sum:
            return Sum(next(self.draws))

    updates = [random_update(seed) for seed in range(2)]
    merger = UpdateMerger(Drawing())
    for update in updates:
        merger.add(update)
    for (layer, found), draw in zip(merger.result().items(), (2.0, 3.0), strict=True):
        expected = draw + updates[0][layer].dense() + updates[1][layer].dense()
        torch.testing.assert_close(found, expected)


def test_a_refused_update_starts_nothing_and_its_shapes_are_not_remembered():
    rule = Counting()
    merger = UpdateMerger(rule, space="factors")
    wide = LowRank(torch.ones(1, 9), torch.ones(7, 1))
    with pytest.raises(OptionError, match="is dense"):
        merger.add({"first": wide, "second": torch.ones(2, 2)})
    assert rule.places == []
    merger.add(random_update(0))  # other shapes than those refused
    assert merger.result().keys() == {"first", "second"}
