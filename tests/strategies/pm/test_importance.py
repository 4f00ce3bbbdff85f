"""The diagonal Fisher against a loop over images, and alpha against all quadratic bowls at once."""

from __future__ import annotations

import pytest
import torch
from streams import classic
from toys import make

from avalanche_ham.strategies.pm.importance import IMAGES_AT_ONCE, diagonal_fisher, merging_scale


@pytest.mark.parametrize("batch_size", [1, IMAGES_AT_ONCE + 2])
def test_the_fisher_is_the_mean_square_of_each_image_s_own_gradient(benchmark, batch_size):
    strategy, found = make("pm"), {}
    data = benchmark.train_stream[1].dataset.eval()
    rows = [(data[k][0], data[k][1]) for k in range(len(data))]

    def look(current):
        if current.task == 0:
            return
        images, targets = torch.stack([x for x, _ in rows]), torch.tensor([y for _, y in rows])
        batches = zip(images.split(batch_size), targets.split(batch_size), strict=True)
        found["fast"] = diagonal_fisher(current, batches)
        weights = {name: layer.weight for name, layer in current.adapters.layers.items()}
        for layer in current.adapters.layers.values():
            layer.weight.requires_grad_(True)
            layer.fixed = None  # the sum with the terms, which cuts the gradient
        totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        current.model.eval()
        for image, target in zip(images, targets, strict=True):
            logits = current.model.head(current.model.encode(image[None]).features)[0]
            mine = torch.tensor(sorted(current.model.head.current))
            loss = logits[mine].logsumexp(0) - logits[target]
            gradients = torch.autograd.grad(loss, list(weights.values()))
            for name, gradient in zip(weights, gradients, strict=True):
                totals[name] += gradient.square() / len(images)
        for weight in weights.values():
            weight.requires_grad_(False)
        found["slow"] = totals

    strategy.probe = look
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    for name, expected in found["slow"].items():
        assert expected.max() > 0
        torch.testing.assert_close(found["fast"][name], expected, rtol=1e-3, atol=1e-9)
    assert not any(layer._forward_hooks for layer in strategy.adapters.layers.values())


def test_the_fisher_in_bf16_is_close_to_that_in_fp32():
    data, found = classic().train_stream[0], []
    for precision in ("fp32", "bf16"):
        strategy = make("pm", {"precision": precision, "steps": 1})
        strategy.train(data, eval_streams=[])
        found.append(strategy.memory["importance"]["blocks.0.attn.qkv"])
    ratio = found[1].sum() / found[0].sum()
    assert 0.8 < float(ratio) < 1.25


def bowls(n_tasks: int):
    """Random diagonal importances and optima of tasks, and the change that is to be merged."""
    generator = torch.Generator().manual_seed(n_tasks)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    importances = [{n: draw(3, 4).square() for n in "xy"} for _ in range(n_tasks)]
    merged = {n: draw(3, 4) for n in "xy"}
    optima = [{n: draw(3, 4) for n in "xy"} for _ in range(n_tasks)]
    return importances, merged, optima


def harm(alpha: float, importances, merged, optima, change) -> float:
    """``sum_i (theta - theta_i)' H_i (theta - theta_i)`` at ``merged + alpha change``."""
    return sum(
        float(h) * float(m + alpha * d - o) ** 2
        for weights, optimum in zip(importances, optima, strict=True)
        for n in "xy"
        for h, m, d, o in zip(
            weights[n].flatten(), merged[n].flatten(), change[n].flatten(), optimum[n].flatten(),
            strict=True,
        )
    )  # fmt: skip


@pytest.mark.parametrize("n_tasks", [1, 2, 5])
def test_alpha_harms_all_tasks_least(n_tasks):
    importances, merged, optima = bowls(n_tasks)
    change = {n: optima[-1][n] - merged[n] for n in "xy"}
    importance = {n: sum(h[n] for h in importances) for n in "xy"}
    pairs = list(zip(importances, optima, strict=True))
    pull = {n: sum(h[n] * (o[n] - merged[n]) for h, o in pairs) for n in "xy"}
    alpha = merging_scale(change, importance, pull)
    rest = (importances, merged, optima, change)
    least = harm(alpha, *rest)
    for step in (1e-3, 0.1, 1.0):
        assert harm(alpha + step, *rest) > least < harm(alpha - step, *rest)
    if n_tasks == 1:  # the only task is served best by its own weights
        assert alpha == pytest.approx(1.0)


def test_where_nothing_matters_the_change_is_taken_whole():
    zero, one = {"x": torch.zeros(2, 2)}, {"x": torch.ones(2, 2)}
    assert merging_scale(one, zero, zero) == 1.0
    assert merging_scale(zero, one, one) == 1.0
