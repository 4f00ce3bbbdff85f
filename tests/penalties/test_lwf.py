"""LwF against a loop over images and against Avalanche's own, in value and in training."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from avalanche.training.regularization import LearningWithoutForgetting
from avalanche.training.supervised import LwF
from streams import classic
from toys import Watch, make, silent, state_of

from avalanche_ham import SequentialStrategy, create_model
from avalanche_ham.errors import OptionError
from avalanche_ham.penalties import LwFPenalty

ALL = 10**6


def whole_network(penalty: LwFPenalty | None, **options) -> SequentialStrategy:
    """Fine-tuning of the whole network with one full batch a step and plain SGD."""
    given = {"scope": "seen", "steps": 3, "train_mb_size": ALL, "evaluator": silent()}
    return SequentialStrategy(
        model=create_model("tiny", n_classes=4),
        trains="network",
        regulariser=penalty,
        optimizer=torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05),
        **{**given, **options},
    )


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    weights = [math.exp(v - top) for v in row]
    return [w / sum(weights) for w in weights]


def distillation(student, teacher, old: list[int], temperature: float) -> float:
    """KL(teacher || student) over the old classes, image by image."""
    total = 0.0
    for z, z_old in zip(student.tolist(), teacher.tolist(), strict=True):
        p = softmax([z_old[c] / temperature for c in old])
        q = softmax([z[c] / temperature for c in old])
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(student)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_loss_is_the_divergence_from_the_model_before_the_task(temperature):
    benchmark, seen = classic(), []
    penalty = LwFPenalty(3.0, temperature=temperature)

    def compare(strategy):
        if strategy.task == 0:
            assert strategy.penalty() is None
            return
        with torch.no_grad():
            old_logits = before(strategy.mb_x)
        student = strategy.mb_output.detach()
        value = float(strategy.penalty().detach())
        expected = 3.0 * distillation(student, old_logits, classes, temperature)
        assert value == pytest.approx(expected, rel=1e-3, abs=1e-6)
        reference = LearningWithoutForgetting(3.0, temperature)
        theirs = 3.0 * reference._distillation_loss(student, old_logits, set(classes))
        assert value == pytest.approx(float(theirs), rel=1e-4, abs=1e-7)
        seen.append(value)

    strategy = whole_network(penalty, plugins=[Watch(after_forward=compare)])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    before = copy.deepcopy(strategy.model).eval()
    classes = sorted(benchmark.train_stream[0].classes_in_this_experience)
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert seen[0] == pytest.approx(0, abs=1e-6) and seen[-1] > 1e-6


def test_training_is_that_of_avalanche_s_lwf(monkeypatch):
    monkeypatch.setattr(
        torch.nn.init, "trunc_normal_", lambda tensor, std: torch.nn.init.zeros_(tensor)
    )
    ours, plain = whole_network(LwFPenalty(5.0, temperature=2.0)), whole_network(None)
    model = create_model("tiny", n_classes=4)
    model.encoder.vit.requires_grad_(True)
    model.head.train_old_rows = True
    theirs = LwF(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        criterion=torch.nn.CrossEntropyLoss(),
        alpha=5.0,
        temperature=2.0,
        train_mb_size=ALL,
        train_epochs=3,
        evaluator=silent(),
    )
    for experience in classic().train_stream:
        ours.train(experience, eval_streams=[])
        plain.train(experience, eval_streams=[])
        theirs.train(experience)
    expected, unpenalised = state_of(theirs.model), state_of(plain.model)
    largest = 0.0
    for name, value in state_of(ours.model).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
        largest = max(largest, float((value - unpenalised[name]).abs().max()))
    assert largest > 1e-4  # the penalty had a say


def test_the_teacher_is_frozen_and_gone_after_the_task(benchmark):
    teachers = []

    def look(strategy):
        teacher = strategy.regulariser.teacher
        teachers.append(None if teacher is None else state_of(teacher))
        if teacher is not None:
            assert not teacher.training
            assert not any(p.requires_grad for p in teacher.parameters())

    strategy = make("lora_lwf", plugins=[Watch(after_update=look)])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
        assert strategy.regulariser.teacher is None
    assert teachers[:4] == [None] * 4
    assert all(torch.equal(teachers[4][n], teachers[7][n]) for n in teachers[4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1.0}, "lwf_strength"),
        ({"temperature": 0.0}, "lwf_temperature must be above 0"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        LwFPenalty(**options)
