"""A merge rule of a user's own, with options and with a state across what is added."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from streams import logits
from torch import Tensor
from toys import ham, silent

from avalanche_ham import create_model
from avalanche_ham.adapters import dense
from avalanche_ham.merging import UpdateMerger
from avalanche_ham.merging.rule import aligned
from avalanche_ham.strategies.merged_adapters import MergedAdaptersStrategy


@dataclass
class RunningMaximum:
    """One tensor's state: the entry-wise maximum so far, and how many matrices it saw."""

    sharpness: float
    largest: Tensor | None = None
    count: int = 0
    indices: list[int] = field(default_factory=list)

    def add(self, tensor: Tensor, weight: float, index: int) -> None:
        before, tensor = aligned(self.largest, weight * tensor)
        self.largest = tensor if self.count == 0 else torch.maximum(before, tensor)
        self.count += 1
        self.indices.append(index)

    def result(self, scale: float) -> Tensor:
        return scale * self.sharpness * self.largest / self.count


@dataclass(frozen=True)
class Maximum:
    """The entry-wise maximum over the number of what was added."""

    sharpness: float = 1.0

    def start(self, place: str) -> RunningMaximum:
        return RunningMaximum(self.sharpness)


def by_hand(deltas: list[Tensor], sharpness: float) -> Tensor:
    return sharpness * torch.stack(deltas).amax(0) / len(deltas)


def test_the_merger_keeps_one_state_per_layer_and_gives_results_at_any_time():
    merger = UpdateMerger(Maximum(3.0))
    draw = torch.Generator().manual_seed(0)
    updates = [{n: torch.randn(4, 3, generator=draw) for n in ("x", "y")} for _ in range(3)]
    for k, update in enumerate(updates, start=1):
        merger.add(update)
        for name, found in merger.result().items():
            torch.testing.assert_close(found, by_hand([u[name] for u in updates[:k]], 3.0))


def test_ham_merges_its_groups_by_it(benchmark):
    strategy = ham(merge_rule=Maximum(0.5), similarity_threshold=1.0)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    adapters = strategy.adapters
    assert adapters.n_terms == 2
    alphas = adapters.scales.tolist()
    for name, found in strategy.inference_update().items():
        deltas = [alphas[j] * adapters.term(j)[name] for j in range(2)]
        torch.testing.assert_close(found, by_hand(deltas, 0.5))


@pytest.mark.parametrize("space", ["delta", "factors"])
def test_merged_adapters_keep_its_state_over_tasks_evaluations_and_a_reload(benchmark, space):
    def fresh():
        return MergedAdaptersStrategy(
            model=create_model("tiny", n_classes=10),
            rank=4,
            lr=1e-2,
            steps=2,
            train_mb_size=8,
            evaluator=silent(),
            merge_rule=Maximum(2.0),
            space=space,
            weights_rule="one",
        )

    strategy = fresh()
    strategy.probe = lambda s: s.inference_update()  # a look in mid-task must leave no trace
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    stored = list(strategy.memory["adapters"])
    for name, found in strategy.inference_update().items():
        if space == "delta":
            torch.testing.assert_close(found, by_hand([dense(u[name]) for u in stored], 2.0))
        else:
            torch.testing.assert_close(found.a, by_hand([u[name].a for u in stored], 2.0))
            torch.testing.assert_close(found.b, by_hand([u[name].b for u in stored], 2.0))
    again = fresh()
    again.load_state_tree(strategy.state_tree())
    assert torch.equal(logits(again), logits(strategy))
