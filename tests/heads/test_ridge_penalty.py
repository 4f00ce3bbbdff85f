"""The penalty that ridge chooses by itself, against a loop with scikit-learn's Ridge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from avalanche_ham.heads import RidgeReadout
from avalanche_ham.heads.ridge import PENALTIES

WIDTH, CLASSES, N = 30, 4, 60


def task(classes: tuple[int, int], noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    targets = torch.tensor(classes)[torch.randint(0, 2, (N,), generator=draw)]
    centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(1))
    return centres[targets] + noise * torch.randn(N, WIDTH, generator=draw), targets


def unit(features: torch.Tensor) -> np.ndarray:
    return (features / features.norm(dim=1, keepdim=True)).double().numpy()


def best(tasks: list, last: tuple) -> float:
    """Every fifth image of the last task chooses among penalties fitted on all others."""
    held = np.arange(N) % 5 == 4
    x = np.concatenate([*(unit(f) for f, _ in tasks), unit(last[0])[~held]])
    one_hot = np.eye(CLASSES)
    y = one_hot[np.concatenate([*(t.numpy() for _, t in tasks), last[1].numpy()[~held]])]
    scale, errors = np.mean(np.sum(x**2, axis=0)), []
    for penalty in PENALTIES:
        model = Ridge(alpha=penalty * scale, fit_intercept=False).fit(x, y)
        wanted = one_hot[last[1].numpy()[held]]
        errors.append(np.mean((model.predict(unit(last[0])[held]) - wanted) ** 2))
    return PENALTIES[int(np.argmin(errors))]


@pytest.mark.parametrize("noise", [0.05, 1.0, 6.0])
def test_the_penalty_is_the_best_on_held_out_images_of_the_latest_task(noise):
    first, second = task((0, 1), noise, seed=2), task((2, 3), noise, seed=3)
    readout = RidgeReadout(WIDTH, CLASSES, projections=0, penalty=None)
    readout.update(*first)
    assert float(readout.chosen) == pytest.approx(best([], first))
    readout.update(*second)
    assert float(readout.chosen) == pytest.approx(best([first], second))


def test_noise_asks_for_a_larger_penalty():
    def chosen(noise: float) -> float:
        readout = RidgeReadout(WIDTH, CLASSES, projections=0, penalty=None)
        return float(readout.update(*task((0, 1), noise, seed=2)).chosen)

    assert chosen(0.05) < chosen(6.0)


def test_held_out_images_are_learned_in_the_end_whatever_the_parts():
    features, targets = task((0, 1), 1.0, seed=2)
    whole = RidgeReadout(WIDTH, CLASSES, projections=50, penalty=None).fit(features, targets)
    parts = RidgeReadout(WIDTH, CLASSES, projections=50, penalty=None)
    for start in range(0, N, 7):
        parts.feed(features[start : start + 7], targets[start : start + 7])
    fixed = RidgeReadout(WIDTH, CLASSES, projections=50, penalty=float(whole.chosen))
    fixed.update(features, targets)
    queries = task((0, 1), 1.0, seed=5)[0]
    torch.testing.assert_close(whole(queries), parts(queries), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole(queries), fixed(queries), rtol=1e-4, atol=1e-4)


def test_a_state_brings_the_chosen_penalty():
    features, targets = task((0, 1), 6.0, seed=2)
    readout = RidgeReadout(WIDTH, CLASSES, projections=50, penalty=None).fit(features, targets)
    fresh = RidgeReadout(WIDTH, CLASSES, projections=50, penalty=None)
    fresh.load_state_dict(readout.state_dict())
    assert torch.equal(fresh(features), readout(features))


def test_a_task_too_small_to_hold_anything_out_keeps_the_first_penalty():
    readout = RidgeReadout(WIDTH, CLASSES, projections=0, penalty=None)
    features, targets = task((0, 1), 1.0, seed=2)
    readout.update(features[:3], targets[:3])
    fixed = RidgeReadout(WIDTH, CLASSES, projections=0).update(features[:3], targets[:3])
    assert torch.equal(readout(features), fixed(features))
