"""The incremental head: logits at true ids, and old rows that nothing can move."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from avalanche_ham.errors import OptionError
from avalanche_ham.heads import IncrementalHead

TASKS = ([7, 2], [0, 5, 9], [4])


def grown(**options) -> IncrementalHead:
    torch.manual_seed(0)
    head = IncrementalHead(6, 10, **options)
    for classes in TASKS:
        head.grow(classes)
    return head


def test_each_task_has_a_weight_and_a_bias_of_its_own():
    head = grown()
    assert [tuple(w.shape) for w in head.weights] == [(2, 6), (3, 6), (1, 6)]
    assert [tuple(b.shape) for b in head.biases] == [(2,), (3,), (1,)]
    assert head.classes.tolist() == [2, 7, 0, 5, 9, 4]


def test_logits_stand_at_the_true_class_ids_and_unseen_classes_are_far_below():
    head = grown()
    features = torch.randn(5, 6)
    with torch.no_grad():
        for bias in head.biases:
            bias.uniform_(-1, 1)
    logits = head(features)
    expected = torch.full((5, 10), -1e4)
    for classes, weight, bias in zip(TASKS, head.weights, head.biases, strict=True):
        for row, label in enumerate(sorted(classes)):
            expected[:, label] = features @ weight[row] + bias[row]
    torch.testing.assert_close(logits, expected)
    assert logits.isfinite().all()


def test_a_head_that_has_seen_nothing_gives_finite_logits():
    logits = IncrementalHead(6, 10)(torch.randn(3, 6))
    assert torch.equal(logits, torch.full((3, 10), -1e4))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5),
    ],
)
def test_weight_decay_and_momentum_leave_old_rows_bit_by_bit(make):
    torch.manual_seed(1)
    head = IncrementalHead(6, 10)
    optimizer = None
    for classes in TASKS[:2]:
        head.grow(classes)
        if optimizer is None:  # the worst case: one optimiser that keeps all and its state
            optimizer = make(head.parameters())
        else:
            optimizer.add_param_group({"params": [head.weights[-1], head.biases[-1]]})
        old = [p.clone() for p in (*list(head.weights)[:-1], *list(head.biases)[:-1])]
        new = head.weights[-1].clone()
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(head(torch.randn(8, 6)), torch.full((8,), classes[0])).backward()
            optimizer.step()
        now = [*list(head.weights)[:-1], *list(head.biases)[:-1]]
        assert all(torch.equal(p, q) for p, q in zip(now, old, strict=True))
        assert not torch.equal(head.weights[-1], new)


def test_only_the_newest_rows_train_unless_old_ones_are_to():
    head = grown()
    assert [p.requires_grad for p in head.weights] == [False, False, True]
    assert {id(p) for p in head.newest()} == {id(head.weights[-1]), id(head.biases[-1])}
    assert all(p.requires_grad for p in grown(train_old_rows=True).parameters())


def test_growing_for_classes_already_seen_keeps_their_rows():
    head = grown()
    before = {k: v.clone() for k, v in head.state_dict().items()}
    head.grow([2, 9])
    assert head.current == [2, 9]
    after = head.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    head.grow([9, 8])
    assert head.classes.tolist() == [2, 7, 0, 5, 9, 4, 8]


def test_the_head_grows_in_training_only_and_draws_nothing_in_evaluation():
    head = IncrementalHead(6, 10)
    experience = SimpleNamespace(classes_in_this_experience=[3, 1])
    head.eval()
    state = torch.get_rng_state()
    head.adaptation(experience)
    assert not len(head.classes) and torch.equal(torch.get_rng_state(), state)
    head.train()
    head.adaptation(experience)
    assert head.classes.tolist() == [1, 3]


def test_a_state_dict_brings_all_rows_into_a_fresh_head():
    head = grown()
    fresh = IncrementalHead(6, 10)
    fresh.load_state_dict(head.state_dict())
    features = torch.randn(4, 6)
    assert torch.equal(fresh(features), head(features))
    fresh.grow([1, 3])
    assert [p.requires_grad for p in fresh.weights] == [False, False, False, True]


def test_logits_keep_16_bits_under_autocast_at_their_ids():
    head = grown()
    features = torch.randn(3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        half = head(features)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), head(features), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("classes", [[10], [-1, 3]])
def test_a_class_id_outside_the_benchmark_is_refused(classes):
    with pytest.raises(OptionError, match="class ids must be from 0 to 9"):
        IncrementalHead(6, 10).grow(classes)


def test_tensors_with_classes_that_come_back_train_again_and_no_others():
    head = IncrementalHead(6, 10)
    flags = []
    for classes in ([0, 1], [2, 3], [0, 1], [1, 4], [0, 1, 2, 3, 4]):
        head.grow(classes)
        flags.append([p.requires_grad for p in head.weights])
    assert flags[:3] == [[True], [False, True], [True, False]]
    assert flags[3:] == [[True, False, True], [True, True, True]]


@pytest.mark.parametrize("back", [[1], [1, 8], [0, 1, 3]])
def test_of_the_classes_seen_exactly_those_that_are_back_move(back):
    torch.manual_seed(0)
    head = IncrementalHead(6, 10)
    for classes in ([0, 1, 2], [3, 4], back):
        head.grow(classes)
    before = {k: v.clone() for k, v in head.state_dict().items()}
    optimizer = torch.optim.SGD(head.newest(), lr=0.5, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(head(torch.randn(8, 6))[:, :9], torch.full((8,), back[0])).backward()
        optimizer.step()
    after, moved = head.state_dict(), set()
    places = {c: (k, r) for k, ids in enumerate(([0, 1, 2], [3, 4])) for r, c in enumerate(ids)}
    for label, (task, row) in places.items():
        for kind in ("weight", "bias"):
            name = f"tasks.{task}.{kind}"
            if not torch.equal(before[name][row], after[name][row]):
                moved.add(label)
    assert moved == set(back) & set(range(5))


def test_after_loading_the_same_rows_train_as_without():
    whole, fresh = grown(), IncrementalHead(6, 10)
    fresh.load_state_dict(whole.state_dict())
    for head in (whole, fresh):
        head.grow([2, 7])
    trains = [[p.requires_grad for p in head.weights] for head in (whole, fresh)]
    assert trains[0] == trains[1] == [True, False, False]


def test_loading_an_earlier_state_drops_later_rows():
    head = grown()
    earlier = IncrementalHead(6, 10)
    earlier.grow(TASKS[0])
    head.load_state_dict(earlier.state_dict())
    features = torch.randn(4, 6)
    assert len(head.weights) == 1 and torch.equal(head(features), earlier(features))


def test_new_rows_follow_the_precision_of_the_model():
    head = IncrementalHead(6, 10).double()
    head.grow([1, 2])
    assert head(torch.randn(3, 6, dtype=torch.float64)).dtype == torch.float64
