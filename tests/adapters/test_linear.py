"""The adapted linear layer against Eq. 2 written out, against autograd, peft and 16-bit floats."""

from __future__ import annotations

import peft
import pytest
import torch
from reference_adapters import (
    TwoLinears,
    dense_weight,
    loop_linear,
    naive_two_linears,
    open_random,
    two_adapted,
)
from torch import nn
from torch.nn import functional as F

from avalanche_ham.adapters import AdapterSet, DenseTerms, LowRankTerms, low_rank_branches

TERMS = (DenseTerms, LowRankTerms)


def inputs(n: int = 4, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n, 6, generator=generator, dtype=torch.float64).to(dtype)


def test_a_fresh_adapter_leaves_the_output_exactly_as_it_was():
    network = TwoLinears()
    x = inputs(dtype=torch.float32)
    expected = network(x)
    adapters = AdapterSet(network, ("first", "second"))
    assert torch.equal(network(x), expected)
    adapters.open(low_rank_branches(3), scale=0.9)
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("train_scales", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_forward_is_eq_2_as_one_dense_layer_and_as_a_loop_over_factors(kind, train_scales, bias):
    network, adapters, terms = two_adapted(terms=kind, dtype=torch.float32, bias=bias)
    open_random(adapters, train_scales=train_scales)
    layer, x = network.first, inputs(dtype=torch.float32)
    changes = [(0.7, terms[0]["first"]), (-1.3, terms[1]["first"])]
    changes.append((0.4, layer.branch.factors().detached()))
    with torch.no_grad():
        out = layer(x)
        dense = F.linear(x, dense_weight(layer.weight, changes), layer.bias)
        slow = loop_linear(x, layer.weight, layer.bias, changes)
    torch.testing.assert_close(out, dense, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out, slow, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(out, F.linear(x, layer.weight, layer.bias), atol=0.1)


@pytest.mark.parametrize("kind", TERMS)
def test_gradients_are_those_of_the_naive_formula_and_frozen_tensors_get_none(kind):
    network, adapters, terms = two_adapted(terms=kind)
    open_random(adapters)
    x, target = inputs(), torch.linspace(-1, 1, 20, dtype=torch.float64).view(4, 5)
    branch = {
        name: tuple(p.detach().clone().requires_grad_() for p in layer.branch.factors())
        for name, layer in adapters.layers.items()
    }
    alphas = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, -1.3, 0.4)]
    F.mse_loss(naive_two_linears(network, x, terms, alphas, branch), target).backward()
    F.mse_loss(network(x), target).backward()
    expected_scales = torch.stack([alpha.grad for alpha in alphas])
    torch.testing.assert_close(adapters.scales.grad, expected_scales, rtol=1e-9, atol=1e-12)
    assert expected_scales.abs().min() > 1e-6
    for name, layer in adapters.layers.items():
        a, b = branch[name]
        torch.testing.assert_close(layer.branch.a.grad, a.grad, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(layer.branch.b.grad[0], b.grad, rtol=1e-9, atol=1e-12)
        assert layer.weight.grad is None and layer.bias.grad is None
        assert all(t.grad is None and not t.requires_grad for t in layer.terms.buffers())


def test_without_trained_scales_the_factors_get_the_same_gradients():
    grads = []
    for train_scales in (True, False):
        network, adapters, _ = two_adapted(terms=DenseTerms)
        open_random(adapters, train_scales=train_scales)
        with torch.no_grad():  # the same random A for both
            for layer in adapters.layers.values():
                a = layer.branch.a
                a.copy_(torch.linspace(-1, 1, a.numel()).view_as(a))
        network(inputs()).square().sum().backward()
        layers = adapters.layers.values()
        grads.append([p.grad for layer in layers for p in layer.branch.parameters()])
        assert (adapters.scales.grad is not None) is train_scales
    for with_scales, without in zip(*grads, strict=True):
        torch.testing.assert_close(with_scales, without, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", ["attn.qkv", "mlp.fc1"])
def test_one_adapter_is_peft_s_lora_with_the_same_weights(tiny_model, target):
    ours, theirs = tiny_model().encoder.vit, tiny_model().encoder.vit
    adapters = AdapterSet(ours, (target,))
    open_random(adapters, rank=4, scale=0.5)
    config = peft.LoraConfig(r=4, lora_alpha=2, target_modules=[target.split(".")[-1]])
    wrapped = peft.get_peft_model(theirs, config)
    with torch.no_grad():
        for name, layer in adapters.layers.items():
            layer.branch.b.mul_(0.1)
            module = theirs.get_submodule(name)
            module.lora_A["default"].weight.copy_(layer.branch.a)
            module.lora_B["default"].weight.copy_(layer.branch.b[0])
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    mine, lora = ours(images), wrapped(images)
    torch.testing.assert_close(mine, lora, rtol=1e-5, atol=1e-5)
    plain = tiny_model().encoder.vit(images)
    assert not torch.allclose(mine, plain, atol=1e-2)
    mine.square().sum().backward()
    lora.square().sum().backward()
    for name, layer in adapters.layers.items():
        theirs_b = theirs.get_submodule(name).lora_B["default"].weight.grad
        torch.testing.assert_close(layer.branch.b.grad[0], theirs_b, rtol=1e-3, atol=1e-3)


def small_update_layer(magnitude: float):
    """One layer of ViT-B's width with an open adapter whose B is tiny; layer, inputs, effect."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(768, 256))
    with torch.no_grad():
        network[0].weight.copy_(0.03 * torch.randn(256, 768, generator=generator))
    adapters = AdapterSet(network, ("0",))
    torch.manual_seed(1)
    adapters.open(low_rank_branches(16))
    layer = adapters.layers["0"]
    with torch.no_grad():
        layer.branch.b.copy_(magnitude * torch.randn(layer.branch.b.shape, generator=generator))
    x = torch.randn(64, 768, generator=generator)
    with torch.no_grad():
        effect = F.linear(x, layer.branch.factors().dense())
    return layer, x, effect


def in_bf16(function):
    with torch.autocast("cpu", torch.bfloat16):
        return function()


def test_autocast_does_not_swallow_a_small_update_as_a_folded_weight_would():
    layer, x, effect = small_update_layer(5e-4)
    with torch.no_grad():
        beside = in_bf16(lambda: layer(x)).float()
        branch = in_bf16(lambda: layer.branch(x)).float()
        weight = layer.combined(with_branch=True)
        folded = in_bf16(lambda: F.linear(x, weight, layer.bias)).float()
        base = in_bf16(lambda: F.linear(x, layer.weight, layer.bias)).float()
    beside_error = float((beside - base - effect).norm() / effect.norm())
    folded_error = float((folded - base - effect).norm() / effect.norm())
    assert float((branch - effect).norm() / effect.norm()) < 0.01
    assert folded_error > 1  # more noise than effect
    assert beside_error < 0.8 and beside_error < 0.5 * folded_error


def test_autocast_gives_gradients_close_to_those_of_fp32():
    layer, x, effect = small_update_layer(5e-4)
    trained = (layer.branch.a, layer.branch.b, layer._owner[0].scales)
    grads = [
        torch.autograd.grad((context(lambda: layer(x)).float() * effect).sum(), trained)
        for context in (lambda f: f(), in_bf16)
    ]
    for exact, half in zip(*grads, strict=True):
        assert float((half - exact).norm() / exact.norm()) < 0.03


@pytest.mark.parametrize("kind", TERMS)
def test_autocast_output_is_close_to_fp32_with_terms_and_branch(kind):
    network, adapters, _ = two_adapted(terms=kind, dtype=torch.float32)
    open_random(adapters)
    x = inputs(64, dtype=torch.float32)
    with torch.no_grad():
        exact, half = network.first(x), in_bf16(lambda: network.first(x))
    assert half.dtype == torch.bfloat16
    assert float((half.float() - exact).norm() / exact.norm()) < 0.01


@pytest.mark.parametrize("kind", TERMS)
def test_autocast_leaves_the_building_of_the_weight_exact(kind, monkeypatch):
    network, _adapters, _ = two_adapted(terms=kind, dtype=torch.float32)
    used, real = [], F.linear
    monkeypatch.setattr(F, "linear", lambda x, w, b=None: (used.append(w), real(x, w, b))[1])
    with torch.no_grad():
        in_bf16(lambda: network.first(inputs(dtype=torch.float32)))
        expected = network.first.combined(with_branch=False)
    assert used[0].dtype == torch.float32 and torch.equal(used[0], expected)


def test_a_branch_that_cannot_be_folded_runs_beside_the_weight():
    class Doubling(nn.Module):
        foldable = False

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            return self.gain * x

    network = nn.Sequential(nn.Linear(4, 4))
    x = torch.randn(3, 4)
    plain = network(x).detach()
    adapters = AdapterSet(network, ("0",))
    adapters.open(lambda name, layer: Doubling(), scale=0.5)
    torch.testing.assert_close(network(x), plain + 0.5 * 2.0 * x)


@pytest.mark.gpu
def test_forward_and_gradients_on_cuda_are_those_on_the_cpu():
    grads = []
    for device in ("cpu", "cuda"):
        network, adapters, _ = two_adapted(terms=DenseTerms)
        holder = nn.ModuleList([network, adapters]).to(device)
        torch.manual_seed(3)
        open_random(adapters)
        with torch.no_grad():
            for layer in adapters.layers.values():
                a = layer.branch.a
                a.copy_(torch.linspace(-1, 1, a.numel()).view_as(a))
        out = network(inputs().to(device))
        out.square().sum().backward()
        grads.append([out.detach().cpu(), adapters.scales.grad.cpu()])
        assert all(p.device.type == device for p in holder.parameters())
    for cpu, cuda in zip(*grads, strict=True):
        torch.testing.assert_close(cpu, cuda)


@pytest.mark.parametrize(
    "branch",
    [{}, {"slots": ("q", "v")}, {"slots": ("k", "v"), "shared_input": True, "train_input": False}],
)
@pytest.mark.parametrize("terms", [0, 2])
def test_gradients_by_rank_are_those_of_the_whole_weight_s(branch, terms, monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 12), nn.Tanh()).double()
    adapters = AdapterSet(network, ("0",))
    layer = adapters.layers["0"]
    for _ in range(terms):
        adapters.add({"0": torch.randn(12, 4, dtype=torch.float64)}, scale=0.5)
    adapters.open(low_rank_branches(2, **branch), scale=0.8, train_scales=False)
    layer.branch.double()
    with torch.no_grad():
        layer.branch.b.normal_()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    trained = [x, *(p for p in layer.branch.parameters() if p.requires_grad)]
    pull = torch.randn(2, 3, 12, dtype=torch.float64)

    def found() -> list[torch.Tensor]:
        return [network(x), *torch.autograd.grad((network(x) * pull).sum(), trained)]

    assert layer._trains_branch_alone()
    ours = found()
    monkeypatch.setattr(type(layer), "_trains_branch_alone", lambda self: False)
    for one, other in zip(ours, found(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert len(ours) == (3 if "train_input" in branch else 4)
