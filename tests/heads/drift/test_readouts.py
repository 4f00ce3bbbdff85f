"""Readouts that follow: against scikit-learn on moved data, and where data are scarce or odd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional as F

from avalanche_ham.errors import OptionError
from avalanche_ham.heads import create_readout
from avalanche_ham.heads.drift import kernel_shift, mean_shift, ridge_map

NAMES = ("lda_drift", "ncm_drift", "lda_shift", "lda_sdc")
WIDTH, CLASSES, OLD, NEW = 6, 12, (7, 2, 9), (0, 4)


def samples(ids=OLD, n: int = 90, seed: int = 0):
    """Features of some classes, far from zero."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.tensor(ids)[torch.arange(n) % len(ids)]
    centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(9))
    noise = torch.randn(n, WIDTH, generator=draw)
    return 1 + 2 * centres[targets] + 0.5 * noise, targets


def drifted(features: torch.Tensor, seed: int = 3) -> torch.Tensor:
    """Features as another network gives them: turned a little, bent, and noisy."""
    draw = torch.Generator().manual_seed(seed)
    turn = torch.eye(WIDTH) + 0.3 * torch.randn(WIDTH, WIDTH, generator=draw)
    noise = 0.1 * torch.randn(features.shape, generator=draw)
    return torch.tanh(features @ turn / 3) * 3 + noise


def unit(features: torch.Tensor) -> torch.Tensor:
    return F.normalize(features.double(), dim=1)


def moved(name: str, x: torch.Tensor, y: torch.Tensor, f: torch.Tensor, g: torch.Tensor):
    """Old images as the head believes them to be now: what its statistics stand for."""
    if name.endswith("_drift"):
        return x @ ridge_map(f, g, 3.0)
    if name == "lda_shift":
        return x + mean_shift(f, g)
    means = torch.stack([x[y == label].mean(0) for label in range(CLASSES) if (y == label).any()])
    places = {label: k for k, label in enumerate(sorted(set(y.tolist())))}
    shifts = kernel_shift(means, f, g, 0.3)
    return x + shifts[torch.tensor([places[label] for label in y.tolist()])]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ncm_drift"])
def test_scores_are_scikit_learns_on_the_moved_images_and_the_new_ones(name):
    (x, y), (task, targets) = samples(), samples(NEW, n=24, seed=1)
    after = drifted(task)
    readout = create_readout(name, WIDTH, CLASSES, shrinkage=0.2).fit(x, y)
    before_the_move = readout(samples(seed=5)[0])
    readout.follow(task, after).update(after, targets)
    images = torch.cat([moved(name, unit(x), y, unit(task), unit(after)), unit(after)])
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2)
    oracle.fit(images.numpy(), torch.cat([y, targets]).numpy())
    queries = torch.cat([samples(seed=5)[0], samples(NEW, seed=6)[0]])
    expected = oracle.decision_function(unit(queries).numpy()) - np.log(oracle.priors_)
    scores = readout(queries)
    np.testing.assert_allclose(scores[:, oracle.classes_], expected, rtol=1e-3, atol=1e-3)
    assert (scores[:, [c for c in range(CLASSES) if c not in oracle.classes_]] == -1e4).all()
    assert (scores[:90, list(OLD)] - before_the_move[:, list(OLD)]).abs().max() > 1


def test_class_means_are_a_loop_over_moved_images():
    (x, y), (task, targets) = samples(), samples(NEW, n=24, seed=1)
    after = drifted(task)
    readout = create_readout("ncm_drift", WIDTH, CLASSES).fit(x, y)
    readout.follow(task, after).update(after, targets)
    w = ridge_map(unit(task), unit(after), 3.0)
    queries = samples(seed=5)[0]
    scores = readout(queries)
    for label in (*OLD, *NEW):
        mine = unit(x[y == label]) @ w if label in OLD else unit(after[targets == label])
        expected = F.cosine_similarity(unit(queries), mine.mean(0)[None]).float()
        torch.testing.assert_close(scores[:, label], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_moves_of_several_tasks_follow_one_another(name):
    readout = create_readout(name, WIDTH, CLASSES).fit(*samples())
    images, labels = unit(samples()[0]), samples()[1]
    for seed in (1, 2, 3):
        task, targets = samples(NEW, n=24, seed=seed)
        after = drifted(task, seed=seed)
        images = moved(name, images, labels, unit(task), unit(after))
        readout.follow(task, after)
        if seed == 2:  # a task in between also adds its classes
            readout.update(after, targets)
            images, labels = torch.cat([images, unit(after)]), torch.cat([labels, targets])
    if name == "ncm_drift":
        means = readout.sums / readout.counts.clamp(min=1)[:, None]
    else:
        means = readout.means
    for label in (*OLD, *NEW):
        expected = images[labels == label].mean(0).float()
        torch.testing.assert_close(means[label], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_features_that_did_not_move_leave_the_statistics_and_predictions(name):
    readout = create_readout(name, WIDTH, CLASSES).fit(*samples())
    task, queries = samples(NEW, n=24, seed=1)[0], samples(seed=5)[0]
    before = readout(queries)
    readout.follow(task, 7 * task)  # of the same direction
    torch.testing.assert_close(readout(queries), before, rtol=1e-4, atol=1e-4)
    empty = torch.zeros(0, WIDTH)
    assert torch.equal(readout.follow(empty, empty)(queries), readout(queries))


@pytest.mark.parametrize("name", NAMES)
def test_classes_not_fed_have_nothing_to_move(name):
    task = samples(NEW, n=24, seed=1)[0]
    readout = create_readout(name, WIDTH, CLASSES)
    readout.follow(task, drifted(task))
    assert not readout.is_fed and not any(t.any() for t in readout.state_dict().values())
    readout.fit(*samples()).follow(task, drifted(task))
    scores = readout(samples(seed=5)[0])
    assert (scores[:, [0, 1, 3, 4]] == -1e4).all() and set(readout.predict(task).tolist()) <= {*OLD}


@pytest.mark.parametrize("name", ["lda_drift", "ncm_drift"])
def test_it_tells_old_classes_apart_after_a_turn_that_defeats_what_stays(name):
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(2)))[0]
    (x, y), task = samples(), samples(NEW, n=60, seed=1)[0]
    stays = create_readout(name, WIDTH, CLASSES, penalty=1e9).fit(x, y)
    follows = create_readout(name, WIDTH, CLASSES, penalty=1e-6).fit(x, y)
    queries, labels = samples(seed=5)
    right = []
    for readout in (stays, follows):
        readout.follow(task, task @ turn)
        right.append(float((readout.predict(queries @ turn) == labels).float().mean()))
    assert right[0] < 0.6 and right[1] > 0.95


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("images", [1, 2, 4])  # of six features
def test_one_image_a_class_and_fewer_images_than_features_are_defined(name, images):
    (x, y), task = samples(), samples(NEW, n=images, seed=1)[0]
    readout = create_readout(name, WIDTH, CLASSES).fit(x[:3], y[:3])
    readout.follow(task, drifted(task))
    assert torch.isfinite(readout(x)).all()
    assert readout.predict(x[:3]).tolist() == y[:3].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_degenerate_covariance_is_defined(name):
    """All images of a class alike, in a plane; and a task whose images are all the same."""
    x = torch.eye(WIDTH)[[0, 0, 1, 1]] * 5
    readout = create_readout(name, WIDTH, CLASSES).fit(x, torch.tensor([2, 2, 7, 7]))
    task = torch.ones(5, WIDTH)
    readout.follow(task, task + torch.eye(WIDTH)[0])
    assert torch.isfinite(readout(torch.randn(8, WIDTH))).all()
    assert readout.predict(x).tolist() == [2, 2, 7, 7]
    zeros = torch.zeros(5, WIDTH)
    readout.follow(zeros, zeros).update(zeros, torch.zeros(5, dtype=torch.long))
    assert torch.isfinite(readout(x)).all()


@pytest.mark.parametrize("name", NAMES)
def test_features_in_bf16_are_taken_as_their_rounded_values(name):
    (x, y), (task, targets) = samples(), samples(NEW, n=24, seed=1)
    after = drifted(task)
    readouts = [create_readout(name, WIDTH, CLASSES).to(torch.bfloat16) for _ in range(2)]
    for readout, dtype in zip(readouts, (torch.bfloat16, torch.float32), strict=True):
        rounded = [t.bfloat16().to(dtype) for t in (x, task, after)]
        readout.fit(rounded[0], y).follow(*rounded[1:]).update(rounded[2], targets)
        assert all(t.dtype == torch.float32 for t in readout.state_dict().values())
    queries = samples(seed=5)[0].bfloat16()
    assert torch.equal(readouts[0](queries), readouts[1](queries.float()))
    assert torch.isfinite(readouts[0](queries)).all()


@pytest.mark.parametrize("name", NAMES)
def test_its_state_brings_the_same_future(name):
    (x, y), task = samples(), samples(NEW, n=24, seed=1)[0]
    readout, fresh = (create_readout(name, WIDTH, CLASSES) for _ in range(2))
    readout.fit(x, y).follow(task, drifted(task))
    fresh(x)  # leaves a solution that must not outlive the loading
    fresh.load_state_dict(readout.state_dict())
    for one in (readout, fresh):
        one.follow(task, drifted(task, seed=8)).update(drifted(task, seed=8), y[:24] * 0)
    assert torch.equal(readout(x), fresh(x))


def test_the_discriminant_keeps_a_mean_a_class_one_scatter_and_counts():
    sizes = [t.numel() for t in create_readout("lda_drift", 8, 12).state_dict().values()]
    assert sum(sizes) == 12 * 8 + 8 * 8 + 12


@pytest.mark.parametrize("name", NAMES)
def test_what_are_no_features_of_the_same_images_is_refused(name):
    readout = create_readout(name, WIDTH, CLASSES).fit(*samples())
    with pytest.raises(OptionError, match=r"after must be of shape \(4, 6\), but got \(3, 6\)"):
        readout.follow(torch.ones(4, WIDTH), torch.ones(3, WIDTH))
    with pytest.raises(OptionError, match=r"before must be of shape \(N, 6\), but got \(4, 5\)"):
        readout.follow(torch.ones(4, 5), torch.ones(4, 5))
    with pytest.raises(OptionError, match="after must be finite numbers, but got nan"):
        readout.follow(torch.ones(4, WIDTH), torch.full((4, WIDTH), torch.nan))
    with pytest.raises(OptionError, match=r"before must be a tensor .*, but got 'list'"):
        readout.follow([[1.0] * WIDTH], torch.ones(1, WIDTH))
