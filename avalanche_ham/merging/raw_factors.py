"""Merge LoRAs that share an origin, entry by entry of the raw factors: A with A, B with B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.adapters.slots import each_matrix
from avalanche_ham.merging.rule import MergeRule

Factors = Mapping[str, LowRank]


def merge_raw_factors(
    updates: Sequence[Factors],
    rule: MergeRule,
    *,
    scale: float = 1.0,
    slots: Sequence[str] | None = None,
) -> dict[str, LowRank]:
    """Merge each matrix of each layer by a rule (PAM, arXiv 2506.03189, Sec. 3).

    With ``Linear()`` and scale 1/n this is the mean of the A and the mean of the B, where
    ``UpdateMerger(space="factors")``, as peft, spreads a weight over both factors as its root.

    Args:
        updates: changes of the same layers, of the same ranks.
        rule: how one matrix is merged.
        scale: weight of each update, above 0.
        slots: parts of a fused qkv that have factors of their own, each merged alone.
    """

    def merged(layer: str) -> LowRank:
        def by_rule(place: str, *matrices: Tensor) -> Tensor:
            merger = rule.start(f"{layer}.{place}")
            for index, matrix in enumerate(matrices):
                merger.add(matrix, 1.0, index)
            return merger.result(scale)

        return each_matrix(by_rule, [update[layer] for update in updates], slots)

    return {layer: merged(layer) for layer in updates[0]}
