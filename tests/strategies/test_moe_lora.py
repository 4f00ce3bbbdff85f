"""MoELoRA: the mixture against a loop over tokens and experts; it trains on and never folds."""

from __future__ import annotations

import math

import pytest
import torch
from toys import differing, make, state_of

from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.strategies.moe_lora import ExpertMixture

LAYERS, WIDTH, RANK, EXPERTS = 3, 48, 4, 4  # of the tiny ViT, toys.SMALL and the default


def filled(rank: int, experts: int) -> ExpertMixture:
    mixture = ExpertMixture(5, 7, rank, experts).double()
    generator = torch.Generator().manual_seed(experts)
    for parameter in mixture.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return mixture


def looped(mixture: ExpertMixture, x: torch.Tensor) -> torch.Tensor:
    """One token and one expert at a time: sum_e softmax(R x)_e B_e A_e x."""
    width, rows = mixture.width, []
    for token in x.reshape(-1, x.shape[-1]):
        scores = [math.exp(gate @ token) for gate in mixture.router.detach()]
        total = torch.zeros(7, dtype=torch.float64)
        for e, score in enumerate(scores):
            mine = slice(e * width, (e + 1) * width)
            total += score / sum(scores) * (mixture.b[:, mine] @ (mixture.a[mine] @ token))
        rows.append(total)
    return torch.stack(rows).view(*x.shape[:-1], 7)


@pytest.mark.parametrize(("rank", "experts"), [(4, 1), (4, 2), (4, 4), (3, 1)])
def test_the_mixture_is_that_of_a_loop_over_tokens_and_experts(rank, experts):
    mixture = filled(rank, experts)
    x = torch.linspace(-2, 2, 30, dtype=torch.float64).view(2, 3, 5)
    torch.testing.assert_close(mixture(x), looped(mixture, x))


def test_one_expert_is_a_plain_lora_whatever_the_router():
    mixture, x = filled(3, 1), torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(mixture(x), x @ mixture.a.T @ mixture.b.T)


def test_it_starts_without_effect_and_its_experts_differ():
    mixture = ExpertMixture(48, 96, 8, 4)
    assert not mixture(torch.randn(2, 48)).any()
    assert 0.005 < float(mixture.a.detach().std()) < 0.02
    assert float(mixture.router.abs().max()) <= 48**-0.5 and mixture.router.std() > 0


def test_one_mixture_trains_on_from_task_to_task_router_included(benchmark):
    strategy = make("moe_lora", {"scale": 2.0})
    branches = [layer.branch for layer in strategy.adapters.layers.values()]
    states = [state_of(strategy.model)]
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
        states.append(state_of(strategy.model))
    assert [layer.branch for layer in strategy.adapters.layers.values()] == branches
    assert strategy.adapters.scales.tolist() == [2.0]
    moved = {n for n in differing(states[1], states[2]) if n in states[1]} - {"head.classes"}
    parts = ("router", "a", "b")
    expected = {f"encoder.vit.blocks.{k}.attn.qkv.branch.{p}" for k in range(LAYERS) for p in parts}
    assert moved == expected
    mine = LAYERS * (RANK * (WIDTH + 3 * WIDTH) + EXPERTS * WIDTH)
    assert strategy.n_trainable == mine + 2 * WIDTH + 2
    assert strategy.describe() == {"extra_multiply_adds_per_token": mine}


def test_evaluation_runs_the_scaled_experts_beside_the_weights(benchmark):
    strategy = make("moe_lora", {"scale": 2.0, "lr": 0.05})
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    layer = next(iter(strategy.adapters.layers.values()))
    x = torch.randn(2, 5, WIDTH)
    strategy.model.eval()
    with torch.no_grad(), strategy.evaluation_weights():
        plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
        torch.testing.assert_close(layer(x), plain + 2.0 * layer.branch(x))
        assert layer.branch(x).abs().max() > 1e-3


def test_it_cannot_be_folded_and_says_so(benchmark):
    strategy = make("moe_lora")
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert strategy.inference_update() is None
    with pytest.raises(HamError, match="ExpertMixture, which depends on the token"):
        strategy.adapters.total()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 6}, "rank must be a multiple of the 4 experts"),
        ({"rank": 52}, "up to the layer's 48, but got 52"),
        ({"experts": 0}, "experts must be at least 1"),
        ({"scale": 0.0}, "scale must be above 0"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        make("moe_lora", options)
