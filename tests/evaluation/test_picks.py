"""The share of images that get their own task's expert, against a loop over images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import make

from avalanche_ham.evaluation.picks import right_picks


@pytest.fixture
def trained(benchmark):
    strategy = make("dual_prompt", {"steps": 8})
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    return strategy


def by_hand(strategy, experiences) -> list[float]:
    """Ask the plain ViT for each image's query and take the key of the largest cosine."""
    encoder = strategy.model.encoder
    keys = encoder.prompts.keys.rows().detach().double().numpy()
    shares = []
    for task, experience in enumerate(experiences):
        right = []
        for image, *_ in experience.dataset:
            with torch.no_grad():
                query = encoder.vit(encoder.preprocess(image[None]))[0].double().numpy()
            cosines = [key @ query / np.linalg.norm(key) for key in keys]
            right.append(int(np.argmax(cosines)) == task)
        shares.append(float(np.mean(right)))
    return shares


def test_shares_are_those_of_a_loop_over_images(trained, benchmark):
    tests = list(benchmark.test_stream[:2])
    found = right_picks(trained, tests)
    assert found == by_hand(trained, tests)
    # on keys that all point one way, every image gets the first task's expert
    with torch.no_grad():
        for rows in (
            trained.model.encoder.prompts.keys.old,
            trained.model.encoder.prompts.keys.new,
        ):
            rows.fill_(1.0)
    assert right_picks(trained, tests) == [1.0, 0.0]


def test_who_guesses_no_task_has_nothing_to_say(benchmark):
    assert right_picks(make("l2p"), list(benchmark.test_stream)) is None
    assert right_picks(make("ham"), list(benchmark.test_stream)) is None
