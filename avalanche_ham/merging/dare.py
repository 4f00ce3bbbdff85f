"""DARE: drop entries at random and rescale the rest, then merge by another rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from avalanche_ham.errors import check_range
from avalanche_ham.magnitude import drop_and_rescale
from avalanche_ham.merging.linear import Linear
from avalanche_ham.merging.rule import MergeRule, TensorMerger
from avalanche_ham.merging.ties import Ties
from avalanche_ham.seeding import generator


@dataclass(frozen=True)
class Dare:
    """Drop And REscale, then another rule (Yu et al. 2024, arXiv 2311.03099, Sec. 3.2).

    ``Dare()`` equals peft's ``dare_linear``, given the same masks.

    A mask is a function of (seed, order of arrival, layer and factor), so that merging
    twice gives the same and merging one more changes no earlier mask. In factor space A
    and B are dropped independently: unbiased for ``B A``, but a surviving product term
    grows by ``1 / density**2``.

    Args:
        density: probability that an entry survives, in [0, 1].
        seed: where all masks come from.
        then: the rule that merges what is left.

    Raises:
        OptionError: if ``density`` is outside [0, 1].
    """

    density: float = 0.2
    seed: int = 0
    then: MergeRule = Linear()

    def __post_init__(self) -> None:
        """Check the options."""
        check_range("density", self.density, 0, 1)

    def start(self, place: str) -> _DareMerger:
        """Begin a merge of thinned tensors."""
        return _DareMerger(self, place)


def dare_ties(
    *, density: float = 0.2, seed: int = 0, majority: Literal["total", "frequency"] = "total"
) -> Dare:
    """DARE, then the election and the disjoint mean of TIES, without its trim, as in peft.

    Args:
        density: probability that an entry survives, in [0, 1].
        seed: where all masks come from.
        majority: elects by the sum of the entries (total) or by their signs (frequency).

    Raises:
        OptionError, UnknownNameError: as ``Dare`` and ``Ties``.
    """
    return Dare(density, seed, then=Ties(density=1.0, majority=majority))


class _DareMerger:
    def __init__(self, rule: Dare, place: str) -> None:
        self.rule, self.place = rule, place
        self.inner: TensorMerger = rule.then.start(place)

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        source = generator(self.rule.seed, "dare", index, self.place)
        thinned = drop_and_rescale(tensor, self.rule.density, source)
        self.inner.add(thinned, weight, index)

    def result(self, scale: float) -> Tensor:
        return self.inner.result(scale)
