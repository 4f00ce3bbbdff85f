"""Closed-form readouts against explicit loops and scikit-learn."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics.pairwise import cosine_similarity

from avalanche_ham.errors import OptionError
from avalanche_ham.heads import NearestClassMean, RidgeReadout, create_readout

IDS = [7, 2, 0, 9]  # not contiguous, of twelve classes
N, WIDTH, CLASSES = 60, 6, 12


def samples(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.tensor(IDS)[torch.randint(0, 4, (N,), generator=generator)]
    centres = 2 * torch.randn(CLASSES, WIDTH, generator=generator)
    return centres[targets] + torch.randn(N, WIDTH, generator=generator), targets


def make(name: str) -> torch.nn.Module:
    if name == "ncm":
        return NearestClassMean(WIDTH, CLASSES)
    return RidgeReadout(WIDTH, CLASSES, projections=40, penalty=0.05, seed=3)


def fed(name: str, chunk: int = N) -> torch.nn.Module:
    readout, (features, targets) = make(name), samples()
    for start in range(0, N, chunk):
        readout.feed(features[start : start + chunk], targets[start : start + chunk])
    return readout


def test_nearest_class_mean_is_a_loop_over_cosines_with_the_means():
    features, targets = samples()
    queries = samples(seed=1)[0]
    scores = fed("ncm")(queries)
    for n, query in enumerate(queries.double().numpy()):
        for label in range(CLASSES):
            if label not in IDS:
                assert scores[n, label] == -1e4
                continue
            mean = features[targets == label].double().numpy().mean(0)
            cosine = query @ mean / np.linalg.norm(query) / np.linalg.norm(mean)
            assert float(scores[n, label]) == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize("projections", [0, 40])
def test_ridge_is_scikit_learn_s_ridge_on_the_same_lifted_features(projections):
    features, targets = samples()
    queries = samples(seed=1)[0]
    readout = RidgeReadout(WIDTH, CLASSES, projections=projections, penalty=0.05, seed=3)
    readout.feed(features, targets)

    def lifted(x):
        unit = (x / x.norm(dim=1, keepdim=True)).double().numpy()
        return np.maximum(unit @ readout.projection.double().numpy(), 0) if projections else unit

    h, one_hot = lifted(features), np.eye(CLASSES)[targets.numpy()]
    strength = 0.05 * np.mean(np.sum(h**2, axis=0))
    oracle = Ridge(alpha=strength, fit_intercept=False).fit(h, one_hot)
    expected = oracle.predict(lifted(queries))
    scores = readout(queries).double().numpy()
    np.testing.assert_allclose(scores[:, IDS], expected[:, IDS], rtol=1e-4, atol=1e-4)
    unseen = [label for label in range(CLASSES) if label not in IDS]
    assert (scores[:, unseen] == -1e4).all()
    assert np.ptp(expected[:, IDS]) > 0.5


@pytest.mark.parametrize("projections", [0, 40])
def test_features_of_zeros_alone_score_0_as_in_scikit_learn(projections):
    readout = RidgeReadout(WIDTH, CLASSES, projections=projections)
    zeros, targets = torch.zeros(5, WIDTH), torch.tensor([7, 2, 0, 9, 2])
    readout.feed(zeros, targets)
    oracle = Ridge(alpha=1.0, fit_intercept=False).fit(zeros.numpy(), np.eye(CLASSES)[targets])
    queries = samples(seed=1)[0]
    for x in (zeros, queries):
        scores = readout(x)
        np.testing.assert_array_equal(scores[:, IDS], oracle.predict(x.numpy())[:, IDS])
        assert (scores.argmax(1) == min(IDS)).all()  # of equal scores the first class that is fed
    readout.feed(*samples())  # what comes later counts as if they had never been
    expected = RidgeReadout(WIDTH, CLASSES, projections=projections)
    expected.feed(*samples())
    torch.testing.assert_close(readout(queries), expected(queries))


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_a_query_of_zeros_scores_0_for_every_class_that_is_fed(name):
    scores = fed(name)(torch.zeros(1, WIDTH))
    assert (scores[0, IDS] == 0).all() and (scores[0, [1, 3]] == -1e4).all()


def test_a_class_mean_of_zeros_scores_0_beside_others():
    readout = NearestClassMean(WIDTH, CLASSES)
    x, queries = samples()[0][:3], samples(seed=1)[0]
    readout.feed(torch.cat([torch.zeros(2, WIDTH), x]), torch.tensor([7, 7, 2, 0, 9]))
    means = np.concatenate([np.zeros((1, WIDTH)), x.double().numpy()])
    expected = cosine_similarity(queries.double().numpy(), means)  # 0 for the zeros
    np.testing.assert_allclose(readout(queries)[:, IDS], expected, atol=1e-6)


@pytest.mark.parametrize("penalty", [1e-2, 1e-15])
def test_classes_of_one_image_each(penalty):
    """A penalty that fp32 swallows gives the shortest least squares, as scikit-learn's."""
    x, targets = samples()[0][:4], torch.tensor(IDS)
    readout = RidgeReadout(WIDTH, CLASSES, projections=30, penalty=penalty, seed=3)
    for one, target in zip(x.split(1), targets.split(1), strict=True):
        readout.feed(one, target)

    def lifted(x):
        unit = (x / x.norm(dim=1, keepdim=True)).double().numpy()
        return np.maximum(unit @ readout.projection.double().numpy(), 0)

    h, one_hot = lifted(x), np.eye(CLASSES)[targets]
    strength = penalty * np.mean(np.sum(h**2, axis=0))
    oracle = Ridge(alpha=strength, fit_intercept=False)
    if penalty < 1e-6:
        oracle = LinearRegression(fit_intercept=False)
    expected = oracle.fit(h, one_hot).predict(lifted(samples(seed=1)[0]))
    scores = readout(samples(seed=1)[0])
    np.testing.assert_allclose(scores[:, IDS], expected[:, IDS], rtol=1e-3, atol=1e-3)
    assert (readout(x).argmax(1) == targets).all()


def test_solving_leaves_the_statistics_as_they_are_also_in_double_precision():
    features, targets = samples()
    for dtype in (torch.float32, torch.float64):
        readout = make("ridge").to(dtype)
        readout.feed(features, targets)
        before = readout.gram.clone()
        readout(features)
        assert torch.equal(readout.gram, before)


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_feeding_in_pieces_is_feeding_at_once(name):
    queries = samples(seed=1)[0]
    torch.testing.assert_close(
        fed(name, chunk=7)(queries), fed(name)(queries), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_what_is_fed_after_a_prediction_counts(name):
    features, targets = samples()
    readout = make(name)
    readout.feed(features[:30], targets[:30])
    early = readout(features)
    readout.feed(features[30:], targets[30:])
    torch.testing.assert_close(readout(features), fed(name)(features), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(early, readout(features))


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_a_fed_readout_tells_its_classes_apart(name):
    features, targets = samples()
    accuracy = (fed(name)(features).argmax(1) == targets).float().mean()
    assert accuracy > 0.9


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_a_state_dict_brings_everything_into_a_fresh_readout(name):
    readout, fresh = fed(name), make(name)
    queries = samples(seed=1)[0]
    assert not fresh.is_fed and readout.is_fed
    fresh.feed(*samples(seed=2))
    fresh(queries)  # leaves a solution that must not outlive the loading
    fresh.load_state_dict(readout.state_dict())
    assert torch.equal(fresh(queries), readout(queries))
    assert "projection" not in readout.state_dict()


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_autocast_does_not_blur_the_scores(name):
    readout, queries = fed(name), samples(seed=1)[0]
    with torch.autocast("cpu", torch.bfloat16):
        scores = readout(queries)
    assert torch.equal(scores, readout(queries))


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_a_deep_copy_is_fed_by_itself(name):
    readout = fed(name)
    queries = samples(seed=1)[0]
    before = readout(queries)
    twin = copy.deepcopy(readout)
    twin.feed(*samples(seed=5))
    assert torch.equal(readout(queries), before)
    assert not torch.equal(twin(queries), before)


def test_projections_follow_from_the_seed_and_touch_no_global_state():
    state = torch.get_rng_state()
    first, same = make("ridge"), make("ridge")
    other = RidgeReadout(WIDTH, CLASSES, projections=40, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.projection, same.projection)
    assert not torch.equal(first.projection, other.projection)


def test_the_head_names_make_their_readouts():
    assert create_readout("linear", WIDTH, CLASSES) is None
    assert isinstance(create_readout("ncm", WIDTH, CLASSES), NearestClassMean)
    assert isinstance(create_readout("ridge", WIDTH, CLASSES), RidgeReadout)


@pytest.mark.parametrize("option", [{"penalty": 0.0}, {"projections": -1}])
def test_options_outside_their_range_are_refused(option):
    with pytest.raises(OptionError, match=next(iter(option))):
        RidgeReadout(WIDTH, CLASSES, **option)
