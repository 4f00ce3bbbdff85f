"""I-LoRA: the slow LoRA against a loop over entries, and who trains, stays and predicts."""

from __future__ import annotations

import contextlib

import pytest
import torch
from streams import logits
from toys import make, state_of

from avalanche_ham.adapters import LowRank
from avalanche_ham.errors import OptionError
from avalanche_ham.strategies.i_lora import follow_slowly


def looped(slow, fast, decay: float):
    """One entry at a time: decay * slow + (1 - decay) * fast."""
    return {
        name: LowRank(
            *(
                torch.tensor(
                    [[decay * x + (1 - decay) * y for x, y in zip(r, q)] for r, q in zip(s, f)]
                )
                for s, f in zip(slow[name], fast[name])
            )
        )
        for name in slow
    }


def watched(benchmark, n_tasks: int = 2, **options):
    """Train, and keep the fast factors after each step."""
    strategy, fast = make("i_lora", options), []
    step = strategy.after_step

    def after_step():
        step()
        fast.append(strategy.adapters.current())

    strategy.after_step = after_step
    start = strategy.adapters.current()
    strategy.train(benchmark.train_stream[:n_tasks], eval_streams=[])
    return strategy, start, fast


@pytest.mark.parametrize(("decay", "used"), [(0.25, 0.25), (0.9, 0.9), (None, 0.75)])
def test_the_slow_lora_is_the_moving_average_over_the_steps_of_all_tasks(benchmark, decay, used):
    strategy, slow, fast = watched(benchmark, decay=decay)
    assert len(fast) == 8  # two tasks of four steps
    for update in fast:
        slow = looped(slow, update, used)
    for name, change in strategy.inference_update().items():
        torch.testing.assert_close(change.a, slow[name].a, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(change.b, slow[name].b, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(change.b, fast[-1][name].b, rtol=1e-3)


def test_one_step_is_that_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    slow, fast = (
        {
            "x": LowRank(
                torch.randn(2, 3, generator=generator), torch.randn(4, 2, generator=generator)
            )
        }
        for _ in range(2)
    )
    found, expected = follow_slowly(slow, fast, 0.3), looped(slow, fast, 0.3)
    torch.testing.assert_close(found["x"].a, expected["x"].a)
    torch.testing.assert_close(found["x"].b, expected["x"].b)
    assert torch.equal(follow_slowly(slow, fast, 1.0)["x"].a, slow["x"].a)
    assert torch.equal(follow_slowly(slow, fast, 0.0)["x"].b, fast["x"].b)


def test_the_fast_lora_trains_exactly_as_one_lora_does(benchmark):
    strategy, _, fast = watched(benchmark, 3)
    plain = make("lora")
    plain.train(benchmark.train_stream[:3], eval_streams=[])
    for name, change in plain.adapters.current().items():
        assert torch.equal(change.b, fast[-1][name].b)
    mine, other = state_of(strategy.model.head), state_of(plain.model.head)
    assert all(torch.equal(mine[name], other[name]) for name in other)


def test_without_memory_the_slow_lora_is_the_fast_one_and_with_all_it_never_moves(benchmark):
    strategy, _, fast = watched(benchmark, decay=0.0)
    for name, change in strategy.inference_update().items():
        torch.testing.assert_close(change.b, fast[-1][name].b)
    strategy, start, _ = watched(benchmark, decay=1.0)
    for name, change in strategy.inference_update().items():
        assert torch.equal(change.a, start[name].a) and not change.b.any()


def test_the_state_does_not_grow_with_the_tasks(benchmark):
    strategy, sizes = make("i_lora"), []
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
        sizes.append(sum(t.numel() for c in strategy.memory["slow"].values() for t in c))
    assert sizes == [3 * 4 * (48 + 144)] * 3


def test_a_decay_outside_its_range_is_refused():
    with pytest.raises(OptionError, match="decay must be at least 0 and at most 1"):
        make("i_lora", {"decay": 1.5})


def test_the_scale_is_in_training_and_in_what_is_evaluated(benchmark):
    plain, scaled = (watched(benchmark, 1, decay=0.0, scale=s)[0] for s in (1.0, 4.0))
    for strategy, factor in ((plain, 1), (scaled, 4)):
        slow = strategy.memory["slow"]
        for name, change in strategy.inference_update().items():
            torch.testing.assert_close(change.b @ change.a, factor * slow[name].b @ slow[name].a)
        folded = logits(strategy)  # decay 0: the slow LoRA is the fast one, which is still open
        strategy.evaluation_weights = contextlib.nullcontext
        torch.testing.assert_close(logits(strategy), folded)
    with pytest.raises(OptionError, match="scale must be above 0"):
        make("i_lora", {"scale": 0.0})
