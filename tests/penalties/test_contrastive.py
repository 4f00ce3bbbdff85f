"""The supervised contrastive loss: its equation in a loop, and its part in HAM's training."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from toys import Watch, differing, ham, state_of

from avalanche_ham.errors import OptionError
from avalanche_ham.penalties import supervised_contrastive


def test_it_is_its_equation():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    targets = [0, 1, 0, 1, 0, 1, 2]  # the last one is alone
    z = [f / math.sqrt(float(f @ f)) for f in features]
    losses = []
    for i in range(7):
        others = [a for a in range(7) if a != i]
        own = [p for p in others if targets[p] == targets[i]]
        if own:
            whole = sum(math.exp(float(z[i] @ z[a]) / 0.2) for a in others)
            shares = [math.exp(float(z[i] @ z[p]) / 0.2) / whole for p in own]
            losses.append(-sum(map(math.log, shares)) / len(own))
    assert len(losses) == 6
    for scale in (1.0, 9.0):  # lengths do not matter
        found = supervised_contrastive(scale * features, torch.tensor(targets), temperature=0.2)
        assert found.item() == pytest.approx(sum(losses) / 6)


@pytest.mark.parametrize("n", [1, 3])  # an epoch's last batch may hold one image
def test_images_without_a_like_give_zero_and_a_gradient_that_is_a_number(n):
    features = torch.randn(n, 4, requires_grad=True)
    loss = supervised_contrastive(features, torch.arange(n))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(features.grad).all()


def test_16_bit_features_are_widened():
    features, targets = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 0, 1])
    found = supervised_contrastive(features.bfloat16(), targets)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(supervised_contrastive(features, targets).item(), rel=0.05)


def losses_of(benchmark, **options):
    """A quick HAM after two tasks, and at each step: the loss, cross-entropy and contrast."""
    seen = []

    def look(strategy):
        images, targets = strategy.mb_x, strategy.mb_y
        with torch.no_grad():
            features = strategy.model.encode(images).features
            plain = strategy.scoped_loss.training_loss(strategy.model.head(features), targets)
        contrast = supervised_contrastive(features, targets)
        seen.append((strategy.loss.item(), plain.item(), contrast.item()))

    strategy = ham(plugins=[Watch(before_backward=look)], **options)
    strategy.train(benchmark.train_stream[:2])
    return strategy, seen


def test_it_is_added_to_cross_entropy_by_its_weight(benchmark):
    strategy, seen = losses_of(benchmark, contrast=0.3)
    assert len(seen) == 8 and all(contrast > 0 for *_, contrast in seen)
    for loss, plain, contrast in seen:
        assert loss == pytest.approx(plain + 0.3 * contrast, rel=1e-5)
    assert strategy._features == []  # nothing holds a graph
    copy.deepcopy(strategy)


def test_a_weight_of_0_is_the_papers_ham_to_the_bit(benchmark):
    (zero, seen), (plain, expected) = losses_of(benchmark, contrast=0), losses_of(benchmark)
    assert seen == expected and not differing(state_of(zero.model), state_of(plain.model))


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_other_weights_are_refused(weight):
    with pytest.raises(OptionError, match="contrast"):
        ham(contrast=weight)
