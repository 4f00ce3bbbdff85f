"""Forward transfer: a probe on features, and its average over the later tasks."""

from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import NearestCentroid

from avalanche_ham.evaluation.forward_transfer import class_mean_accuracy, forward_transfer
from avalanche_ham.runs.runner import Resources, RunConfig, run
from avalanche_ham.strategies.sequential import SequentialStrategy


def test_the_probe_is_a_nearest_class_mean_among_the_tasks_own_classes(tiny_model, benchmark):
    strategy = SequentialStrategy(model=tiny_model(), trains="head", evaluator=None)
    train, test = benchmark.train_stream[2], benchmark.test_stream[2]

    def features(experience):
        images = torch.stack([sample[0] for sample in experience.dataset])
        with torch.no_grad():
            found = strategy.model.eval().encode(images).features
        return found.numpy(), [sample[1] for sample in experience.dataset]

    x, y = features(train)
    means = NearestCentroid().fit(x, y)
    centres = torch.nn.functional.normalize(torch.tensor(means.centroids_), dim=1)
    x, y = features(test)
    unit = torch.nn.functional.normalize(torch.tensor(x), dim=1)
    guess = means.classes_[(unit @ centres.T.float()).argmax(1)]
    expected = sum(int(a == b) for a, b in zip(guess, y)) / len(y)
    assert class_mean_accuracy(strategy, train, test) == pytest.approx(expected)


def test_the_average_gain_is_in_percentage_points_over_the_later_tasks():
    assert forward_transfer([0.9, 0.5], [0.7, 0.6]) == pytest.approx(5.0)
    assert forward_transfer([], []) is None


def test_a_frozen_backbone_transfers_nothing_and_an_adapted_one_something():
    def transfer(method):
        config = RunConfig(method=method, n_tasks=5, preset="smoke", options={"lr": 0.05})
        return run(config, Resources(probes=True), show=False)["fwt"]

    assert transfer("frozen") == 0.0
    assert transfer("finetune") != 0.0
