"""Loss scopes against cross-entropies written by hand."""

from __future__ import annotations

import math

import pytest
import torch

from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.heads import IncrementalHead, ScopedCrossEntropy

TASKS = ([7, 2], [0, 5, 9])


def scoped(scope: str, tasks=TASKS) -> ScopedCrossEntropy:
    torch.manual_seed(0)
    head = IncrementalHead(6, 10)
    loss = ScopedCrossEntropy(head, scope)
    for classes in tasks:
        head.grow(classes)
    return loss


def by_hand(logits, targets, competing) -> float:
    """-log softmax of the target among the competing classes, image by image."""
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        total += math.log(sum(math.exp(row[c]) for c in competing)) - row[target]
    return total / len(targets)


@pytest.mark.parametrize(
    ("scope", "competing"),
    [("current", [0, 5, 9]), ("seen", [0, 2, 5, 7, 9]), ("seen_frozen", [0, 2, 5, 7, 9])],
)
def test_the_softmax_runs_over_the_classes_of_the_scope(scope, competing):
    loss = scoped(scope)
    logits = loss.head(3 * torch.randn(8, 6)).detach()
    targets = torch.tensor([0, 5, 9, 9, 5, 0, 5, 0])
    assert float(loss(logits, targets)) == pytest.approx(by_hand(logits, targets, competing))


@pytest.mark.parametrize(
    ("scope", "trained"),
    [("current", [False, True]), ("seen", [True, True]), ("seen_frozen", [False, True])],
)
def test_the_scope_says_which_rows_get_a_gradient(scope, trained):
    loss = scoped(scope)
    features = torch.randn(8, 6)
    loss(loss.head(features), torch.tensor([0, 5, 9, 9, 5, 0, 5, 0])).backward()
    assert [w.grad is not None for w in loss.head.weights] == trained


def test_old_logits_have_no_say_under_the_scope_current():
    loss = scoped("current")
    logits = torch.randn(4, 10)
    targets = torch.tensor([9, 0, 5, 5])
    other = logits.clone()
    other[:, [2, 7]] += 100
    assert torch.equal(loss(logits, targets), loss(other, targets))
    assert not torch.equal(scoped("seen")(logits, targets), scoped("seen")(other, targets))


def test_a_task_of_one_class_falls_back_to_all_seen_classes_with_old_rows_frozen():
    loss = scoped("current", tasks=([7, 2], [4]))
    assert loss.effective_scope == "seen_frozen"
    logits = loss.head(torch.randn(5, 6))
    targets = torch.full((5,), 4)
    expected = by_hand(logits.detach(), targets, [2, 4, 7])
    value = loss(logits, targets)
    assert float(value.detach()) == pytest.approx(expected)
    value.backward()
    assert loss.head.weights[0].grad is None
    assert loss.head.weights[1].grad.abs().max() > 0


def test_the_next_task_of_two_classes_is_local_again():
    loss = scoped("current", tasks=([7, 2], [4], [1, 3]))
    assert loss.effective_scope == "current"


@pytest.mark.parametrize("scope", ["current", "seen", "seen_frozen"])
def test_in_evaluation_all_seen_classes_compete(scope):
    loss = scoped(scope)
    loss.head.eval()
    logits = loss.head(torch.randn(4, 6)).detach()
    targets = torch.tensor([2, 0, 7, 9])
    assert float(loss(logits, targets)) == pytest.approx(by_hand(logits, targets, [0, 2, 5, 7, 9]))


def test_the_loss_of_16_bit_logits_is_computed_in_fp32():
    loss = scoped("seen")
    logits = loss.head(3 * torch.randn(6, 6)).detach().bfloat16()
    targets = torch.tensor([0, 5, 9, 2, 7, 0])
    value = loss(logits, targets)
    assert value.dtype == torch.float32
    expected = by_hand(logits.float(), targets, [0, 2, 5, 7, 9])
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("foreign", [2, 4])
def test_a_target_of_another_task_is_refused_under_the_scope_current(foreign):
    loss = scoped("current")
    with pytest.raises(HamError, match="images of other classes"):
        loss(torch.randn(3, 10), torch.tensor([0, 5, foreign]))


def test_an_unknown_scope_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'current'"):
        ScopedCrossEntropy(IncrementalHead(6, 10), "curent")


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
@pytest.mark.parametrize("training", [True, False])
def test_labels_may_be_any_kind_of_whole_numbers_and_no_other(kind, training):
    loss = scoped("current")
    loss.head.train(training)
    logits = loss.head(torch.randn(4, 6)).detach()
    targets = torch.tensor([0, 5, 9, 9])
    assert torch.equal(loss(logits, targets.to(kind)), loss(logits, targets))
    for odd in (targets.float(), ["0", "5", "9", "9"]):
        with pytest.raises(OptionError, match="labels must be whole numbers"):
            loss(logits, odd)
