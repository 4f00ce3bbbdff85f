"""The discriminant against scikit-learn's, and the interface that all readouts share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from avalanche_ham.errors import DivergedError, OptionError
from avalanche_ham.heads import HEADS, LinearDiscriminant, create_readout

N, WIDTH, IDS, CLASSES = 240, 8, (7, 2, 0, 9), 12


def samples(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated features of unequally frequent classes, far from zero."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.tensor(IDS)[torch.randint(0, 7, (N,), generator=draw) % 4]
    centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(9))
    mixing = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(8))
    noise = torch.randn(N, WIDTH, generator=draw) @ mixing
    return 5 + 2 * centres[targets] + noise, targets


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("chunk", [7, N])
def test_scores_are_scikit_learn_s_without_its_priors(shrinkage, chunk):
    features, targets = samples()
    readout = LinearDiscriminant(WIDTH, CLASSES, shrinkage=shrinkage)
    for start in range(0, N, chunk):
        readout.update(features[start : start + chunk], targets[start : start + chunk])
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    oracle.fit(features.double().numpy(), targets.numpy())
    queries = samples(seed=1)[0]
    expected = oracle.decision_function(queries.double().numpy()) - np.log(oracle.priors_)
    scores = readout(queries)
    np.testing.assert_allclose(scores[:, oracle.classes_], expected, rtol=1e-3, atol=1e-3)
    unseen = [label for label in range(CLASSES) if label not in IDS]
    assert (scores[:, unseen] == -1e4).all()
    assert np.ptp(expected) > 10


def test_an_image_a_class_leaves_the_nearest_mean():
    features, targets = torch.eye(4)[:3] * 3, torch.tensor([1, 0, 2])
    readout = create_readout("lda", 4, 3).fit(features, targets)
    queries = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    oracle = NearestCentroid().fit(features.numpy(), targets.numpy())
    assert readout.predict(queries).tolist() == oracle.predict(queries.numpy()).tolist()
    assert torch.isfinite(readout(torch.zeros(2, 4))).all()


@pytest.mark.parametrize("name", [name for name in HEADS if name != "linear"])
def test_fit_forgets_update_does_not_and_predict_names_classes(name):
    features, targets = samples()
    first, second = targets == 7, targets == 2
    readout = create_readout(name, WIDTH, CLASSES)
    readout.update(features[first], targets[first]).update(features[second], targets[second])
    assert set(readout.predict(features).tolist()) == {2, 7}
    again = readout.fit(features[second], targets[second])
    assert again is readout and set(readout.predict(features).tolist()) == {2}
    fresh = create_readout(name, WIDTH, CLASSES).fit(features[second], targets[second])
    assert torch.equal(fresh(features), readout(features))


@pytest.mark.parametrize("name", [name for name in HEADS if name != "linear"])
def test_features_that_do_not_fit_are_refused_before_they_are_taken(name):
    readout = create_readout(name, WIDTH, CLASSES)
    with pytest.raises(OptionError, match=r"features.*\(2, 8\).*\(2, 5\)"):
        readout.update(torch.zeros(2, 5), torch.tensor([0, 1]))
    with pytest.raises(OptionError, match="targets.*0 to 11.*12"):
        readout.update(torch.ones(2, WIDTH), torch.tensor([0, 12]))
    assert not readout.is_fed


@pytest.mark.parametrize("shrinkage", [0.0, 1.5, -1.0])
def test_shrinkage_outside_its_range_is_refused(shrinkage):
    with pytest.raises(OptionError, match="shrinkage"):
        LinearDiscriminant(WIDTH, CLASSES, shrinkage=shrinkage)


def test_features_that_a_training_spoiled_are_told_in_one_line():
    readout, (features, targets) = LinearDiscriminant(WIDTH, CLASSES), samples()
    readout.feed(features.index_fill(0, torch.tensor([3]), torch.nan), targets)  # not looked at
    with pytest.raises(DivergedError, match="lda: the covariance .* some are not finite"):
        readout(features)
