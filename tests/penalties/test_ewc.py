"""EWC against a loop over images and against Avalanche's own, in value and in training."""

from __future__ import annotations

import pytest
import torch
from avalanche.training.plugins import EWCPlugin
from avalanche.training.supervised import EWC
from streams import classic
from torch.nn import functional as F
from toys import make, silent, state_of

from avalanche_ham import SequentialStrategy, create_model
from avalanche_ham.errors import OptionError
from avalanche_ham.penalties import EWCPenalty
from avalanche_ham.penalties.ewc import consolidated

ALL = 10**6  # batch size that takes a whole experience at once


def whole_network(penalty: EWCPenalty | None, **options) -> SequentialStrategy:
    """Fine-tuning of the whole network with one full batch a step and plain SGD."""
    model = create_model("tiny", n_classes=4)
    given = {
        "scope": "seen_frozen",
        "steps": 3,
        "train_mb_size": ALL,
        "evaluator": silent(),
    }
    return SequentialStrategy(
        model=model,
        trains="network",
        regulariser=penalty,
        optimizer=torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05),
        **{**given, **options},
    )


@pytest.fixture
def learned():
    """A strategy that has learned one experience, with that experience at hand."""
    penalty = EWCPenalty(2.0, decay=0.7, batch_size=1, max_batches=ALL)
    strategy = whole_network(penalty)
    experience = classic().train_stream[0]
    strategy.train(experience, eval_streams=[])
    strategy.experience = experience
    return strategy, penalty


@pytest.mark.parametrize("batch_size", [1, ALL])
def test_the_importance_is_avalanche_s_on_the_same_model_and_data(learned, batch_size):
    strategy, penalty = learned
    penalty.batch_size = batch_size
    ours = penalty.importance(strategy)
    theirs = EWCPlugin(1.0).compute_importances(
        strategy.model,
        F.cross_entropy,
        torch.optim.SGD(strategy.model.parameters(), lr=0.1),
        strategy.experience.dataset,
        "cpu",
        batch_size,
    )
    names = [name for name, _ in consolidated(strategy)]
    assert len(names) > 30 and set(ours) == set(names)
    for name in names:
        torch.testing.assert_close(ours[name], theirs[name].data, rtol=1e-4, atol=1e-10)
    assert max(float(value.max()) for value in ours.values()) > 1e-6


def test_the_importance_is_the_mean_squared_gradient_of_single_images(learned):
    strategy, penalty = learned
    ours = penalty.importance(strategy)
    weight = strategy.model.encoder.vit.blocks[1].mlp.fc1.weight
    expected, data = torch.zeros_like(weight), strategy.experience.dataset
    strategy.model.eval()
    for sample in data:
        loss = F.cross_entropy(strategy.model(sample[0][None]), torch.tensor([sample[1]]))
        expected += torch.autograd.grad(loss, weight)[0] ** 2 / len(data)
    name = "encoder.vit.blocks.1.mlp.fc1.weight"
    torch.testing.assert_close(ours[name], expected, rtol=1e-4, atol=1e-10)


def test_the_penalty_is_the_weighted_squared_drift_from_the_anchor(learned):
    strategy, penalty = learned
    assert float(penalty(strategy).detach()) == 0.0
    with torch.no_grad():
        for _, parameter in consolidated(strategy):
            parameter += 0.01 * torch.randn_like(parameter)
    expected, memory = 0.0, strategy.memory
    for name, parameter in consolidated(strategy):
        drift = (parameter - memory["anchor"][name]).double() ** 2
        expected += 2.0 * float((memory["importance"][name] * drift).sum())
    assert float(penalty(strategy).detach()) == pytest.approx(expected, rel=1e-5)
    assert expected > 0


def test_importances_of_older_tasks_decay_and_the_anchor_moves(learned):
    strategy, penalty = learned
    old = {name: value.clone() for name, value in strategy.memory["importance"].items()}
    benchmark = classic()
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    strategy.experience = benchmark.train_stream[1]
    fresh = penalty.importance(strategy)
    for name, parameter in consolidated(strategy):
        expected = fresh[name] + 0.7 * old[name]
        torch.testing.assert_close(
            strategy.memory["importance"][name], expected, rtol=1e-4, atol=1e-10
        )
        assert torch.equal(strategy.memory["anchor"][name], parameter)


@pytest.fixture
def zero_rows(monkeypatch):
    """New rows of the head start at zero, so that two strategies start alike."""
    monkeypatch.setattr(
        torch.nn.init, "trunc_normal_", lambda tensor, std: torch.nn.init.zeros_(tensor)
    )


@pytest.mark.parametrize("mode", ["separate", "online"])
def test_training_is_that_of_avalanche_s_ewc(zero_rows, mode):
    strength, decay = 500.0, 1.0
    ours = whole_network(EWCPenalty(strength, decay=decay, batch_size=ALL))
    model = create_model("tiny", n_classes=4)
    model.encoder.vit.requires_grad_(True)
    theirs = EWC(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        criterion=torch.nn.CrossEntropyLoss(),
        ewc_lambda=strength,
        mode=mode,
        decay_factor=decay if mode == "online" else None,
        train_mb_size=ALL,
        train_epochs=3,
        evaluator=silent(),
    )
    plain = whole_network(None)
    for experience in classic().train_stream:
        ours.train(experience, eval_streams=[])
        theirs.train(experience)
        plain.train(experience, eval_streams=[])
    expected, unpenalised = state_of(theirs.model), state_of(plain.model)
    largest = 0.0
    for name, value in state_of(ours.model).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
        largest = max(largest, float((value - unpenalised[name]).abs().max()))
    assert largest > 1e-4  # the penalty had a say


def test_there_is_no_penalty_in_the_first_task():
    strategy = make("ewc")
    assert strategy.penalty() is None


def test_only_what_trains_is_stored_for_one_lora(benchmark):
    strategy = make("lora_ewc")
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    stored = strategy.memory["importance"]
    assert set(stored) == {
        f"encoder.vit.blocks.{b}.attn.qkv.branch.{f}" for b in range(3) for f in "ab"
    }
    assert all(value.max() > 0 for value in stored.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1.0}, "ewc_strength must be at least 0"),
        ({"decay": 1.5}, "ewc_decay"),
        ({"batch_size": 0}, "ewc_batch_size must be at least 1"),
        ({"max_batches": 0}, "ewc_max_batches must be at least 1"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        EWCPenalty(**options)


@pytest.mark.parametrize("trains", ["head", "nothing"])
def test_where_the_backbone_does_not_train_there_is_nothing_to_hold(benchmark, trains):
    strategy = SequentialStrategy(
        model=create_model("tiny", n_classes=10),
        trains=trains,
        regulariser=EWCPenalty(),
        steps=1,
        evaluator=silent(),
    )
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    assert strategy.memory["importance"] == {}
