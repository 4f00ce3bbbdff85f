"""Phases of training: their budgets, their parameters, their learning rates."""

from __future__ import annotations

import math

import pytest
import torch
from toys import Watch, ham, silent

from avalanche_ham import create_model
from avalanche_ham.adapters import LowRank
from avalanche_ham.errors import HamError
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies._loop import Phase
from avalanche_ham.strategies._optimizer import default_optimizer, refill
from avalanche_ham.strategies.sequential import SequentialStrategy


class Staged(ContinualStrategy):
    """Trains its head in the phases it is given."""

    def __init__(self, *, staged, **kwargs):
        self.staged = staged
        given = {"train_mb_size": 8, "evaluator": silent(), "lr": 0.1, **kwargs}
        super().__init__(model=create_model("tiny", n_classes=10), **given)

    def phases(self):
        yield from self.staged(self)


def run_phases(benchmark, staged, **options):
    """Train one experience; phase, step and learning rate at each update."""
    seen = []

    def look(strategy):
        rates = [group["lr"] for group in strategy.optimizer.param_groups if group["params"]]
        seen.append((strategy.phase.name, strategy.step, rates[0]))

    strategy = Staged(staged=staged, plugins=[Watch(after_update=look)], **options)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    return strategy, seen


def test_phases_follow_each_other_each_with_its_own_steps(benchmark):
    phases = [Phase(steps=2, name="a"), Phase(epochs=2, name="b"), Phase(steps=1, name="c")]
    _, seen = run_phases(benchmark, lambda s: phases)
    assert [(name, step) for name, step, _ in seen] == (
        [("a", 1), ("a", 2)] + [("b", k) for k in range(1, 7)] + [("c", 1)]
    )


def test_a_cosine_schedule_falls_from_the_rate_to_zero_over_its_phase(benchmark):
    phases = [Phase(steps=7, schedule="cosine"), Phase(steps=2)]
    _, seen = run_phases(benchmark, lambda s: phases)
    rates = [rate for _, _, rate in seen]
    expected = [0.1 * 0.5 * (1 + math.cos(math.pi * k / 7)) for k in range(7)]
    assert rates[:7] == pytest.approx(expected)
    assert rates[0] == 0.1 and rates[6] < 0.006


def test_a_phase_trains_the_groups_it_names_and_nothing_else(benchmark):
    def staged(strategy):
        bias = strategy.model.head.biases[-1]
        before.append(strategy.model.head.weights[-1].detach().clone())
        yield Phase(steps=2, groups=({"params": [bias], "lr": 0.3},), name="bias")

    before = []
    strategy, seen = run_phases(benchmark, staged)
    head = strategy.model.head
    assert torch.equal(head.weights[-1], before[0]) and head.biases[-1].abs().max() > 0
    assert [rate for _, _, rate in seen] == [0.3, 0.3]


def test_no_phase_at_all_trains_nothing(benchmark):
    strategy, seen = run_phases(benchmark, lambda s: ())
    assert not seen and not strategy.model.head.biases[-1].any()


def test_stopping_ends_a_phase_and_the_next_one_still_runs(benchmark):
    calls = []

    def stop(strategy):
        calls.append(strategy.phase.name)
        if len(calls) == 2:
            strategy.stop_training()

    phases = [Phase(steps=5, name="a"), Phase(steps=5, name="b")]
    strategy = Staged(staged=lambda s: phases, plugins=[Watch(after_update=stop)])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert calls == ["a"] * 2 + ["b"] * 5
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert calls[7:] == ["a"] * 5 + ["b"] * 5


def test_an_experience_without_a_single_batch_is_refused_by_its_sizes(benchmark):
    strategy = ham(train_mb_size=64, steps=5)
    with pytest.raises(HamError, match="24 images, fewer than a batch .64., and drop_last"):
        strategy.train(benchmark.train_stream[0], eval_streams=[], drop_last=True)


def test_penalties_of_method_and_encoder_are_added_in_training_only(benchmark):
    class Penalised(Staged):
        def penalty(self):
            return torch.tensor(3.0)

    losses = []
    watch = Watch(
        before_backward=lambda s: losses.append((s.loss.detach(), s.mb_output.detach(), s.mb_y)),
        after_eval_iteration=lambda s: losses.append((s.loss, s.mb_output, s.mb_y)),
    )
    strategy = Penalised(staged=lambda s: [Phase(steps=1)], plugins=[watch], scope="seen")
    encode = strategy.model.encode
    strategy.model.encode = lambda images: encode(images)._replace(penalty=torch.tensor(5.0))
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    strategy.eval(benchmark.test_stream[:1])
    extras = []
    for value, output, target in losses:
        plain = torch.nn.functional.cross_entropy(output, target)
        extras.append(float(value - plain))
    assert extras == pytest.approx([8.0] + [0.0] * (len(extras) - 1), abs=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: default_optimizer(lr=0.1, weight_decay=0.2),
        lambda p: torch.optim.SGD([p], lr=0.1, momentum=0.9),
        lambda p: torch.optim.Adam([p], lr=0.1, amsgrad=True),
    ],
)
def test_refilling_empties_an_optimiser_and_takes_only_options_it_knows(make):
    old, new = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = make(old)
    parameter = optimizer.param_groups[0]["params"][0]
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    refill(optimizer, [{"params": [new], "lr": 0.5, "unknown": 1}])
    assert not optimizer.state
    first, group = optimizer.param_groups
    assert first["params"] == [] and first["lr"] == 0.1
    assert group["params"] == [new] and group["lr"] == 0.5 and "unknown" not in group
    refill(optimizer, [])
    assert optimizer.param_groups == [first] and first["params"] == []
    optimizer.step()
    optimizer.zero_grad()


def test_groups_without_name_and_settings_fill_the_first_and_others_stay_apart():
    a, b, c, d = (torch.nn.Parameter(torch.ones(2)) for _ in range(4))
    optimizer = torch.optim.SGD([{"params": [a], "lr": 0.1, "momentum": 0.9}], lr=1.0)
    groups = [
        {"params": [a]},
        {"params": [b], "lr": None},
        {"params": [c], "lr": 0.2},
        {"params": [d], "name": "d"},
    ]
    refill(optimizer, groups)
    assert [g["params"] for g in optimizer.param_groups] == [[a, b], [c], [d]]
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.2, 0.1]
    assert {g["momentum"] for g in optimizer.param_groups} == {0.9}  # not SGD's default


def test_after_step_follows_every_optimiser_step_and_sees_it_counted(benchmark):
    seen = []

    class Counting(SequentialStrategy):
        def after_step(self) -> None:
            state = self.optimizer.state[self.optimizer.param_groups[0]["params"][0]]
            seen.append((self.step, int(state["step"])))

    strategy = Counting(
        model=create_model("tiny", n_classes=10), steps=4, train_mb_size=8, evaluator=silent()
    )
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert seen == 2 * [(n, n) for n in (1, 2, 3, 4)]


def test_after_step_may_write_into_the_adapter_that_goes_on_training(benchmark):
    class Restarting(SequentialStrategy):
        def after_step(self) -> None:
            if self.step == 2:
                update = self.adapters.current()
                zero = {n: LowRank(c.a, torch.zeros_like(c.b)) for n, c in update.items()}
                self.adapters.assign(zero)
                self.zeroed = self.adapters.total()

    strategy = Restarting(
        model=create_model("tiny", n_classes=10), steps=4, train_mb_size=8, evaluator=silent()
    )
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert not any(change.any() for change in strategy.zeroed.values())
    assert all(change.any() for change in strategy.adapters.total().values())
