"""A branch without a weight, here a router between experts for every token."""

from __future__ import annotations

import pytest
import torch
from reference_adapters import random_update, two_adapted
from torch import Tensor, nn
from torch.nn import functional as F

from avalanche_ham.adapters import DenseTerms
from avalanche_ham.errors import HamError


class Router(nn.Module):
    """Mix two low-rank experts by a softmax of each token."""

    foldable = False

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64))

        self.gate, self.a, self.b = normal(2, inputs), normal(2, 3, inputs), normal(2, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        shares = F.softmax(F.linear(x, self.gate), dim=-1)  # (..., 2)
        experts = torch.einsum("eor,eri,...i->...eo", self.b, self.a, x)
        return torch.einsum("...e,...eo->...o", shares, experts)


def routed(**options):
    network, adapters, updates = two_adapted(terms=DenseTerms)
    adapters.open(
        lambda name, layer: Router(layer.in_features, layer.out_features, len(name)),
        scale=0.4,
        **options,
    )
    return network, adapters, updates


def tokens() -> Tensor:
    return torch.linspace(-2, 2, 24, dtype=torch.float64).view(2, 2, 6)


def loop_layer(layer: nn.Linear, x: Tensor, changes) -> Tensor:
    """One token at a time: W x + bias + 0.4 sum_e softmax(G x)_e B_e A_e x."""
    weight = layer.weight + sum(scale * change.b @ change.a for scale, change in changes)
    router, out = layer.branch, []
    for token in x.reshape(-1, x.shape[-1]):
        logits = [(row * token).sum() for row in router.gate]
        total = sum(torch.exp(value) for value in logits)
        row = weight @ token + layer.bias
        for value, a, b in zip(logits, router.a, router.b, strict=True):
            row = row + 0.4 * torch.exp(value) / total * (b @ (a @ token))
        out.append(row)
    return torch.stack(out).view(*x.shape[:-1], -1)


def loop(network, x, updates) -> Tensor:
    scaled = list(zip((0.7, -1.3), updates, strict=True))
    hidden = loop_layer(network.first, x, [(s, u["first"]) for s, u in scaled])
    return loop_layer(network.second, torch.tanh(hidden), [(s, u["second"]) for s, u in scaled])


@pytest.mark.parametrize("train_scales", [True, False])
def test_it_runs_beside_the_weight_in_training_evaluation_and_without_an_update(train_scales):
    network, adapters, updates = routed(train_scales=train_scales)
    expected = loop(network, tokens(), updates)
    torch.testing.assert_close(network(tokens()), expected)
    network.eval()
    torch.testing.assert_close(network(tokens()), expected)
    with adapters.merged(None):
        torch.testing.assert_close(network(tokens()), expected)


def test_it_trains():
    network, adapters, _ = routed()
    network(tokens()).square().sum().backward()
    for layer in adapters.layers.values():
        assert all(p.grad is not None and p.grad.any() for p in layer.branch.parameters())
    assert adapters.scales.grad is not None and adapters.scales.grad.all()


@pytest.mark.parametrize(
    "ask",
    [
        lambda adapters: adapters.current(),
        lambda adapters: adapters.close(),
        lambda adapters: adapters.total(),
        lambda adapters: adapters.assign(random_update(2, 1)),
        lambda adapters: adapters.enter(random_update(2, 1)),
    ],
)
def test_asking_for_its_weight_is_one_line_that_names_it_and_changes_nothing(ask):
    network, adapters, updates = routed()
    with pytest.raises(HamError, match="the branch of first is a Router, .* has no weight") as told:
        ask(adapters)
    assert "\n" not in str(told.value)
    torch.testing.assert_close(network(tokens()), loop(network, tokens(), updates))
