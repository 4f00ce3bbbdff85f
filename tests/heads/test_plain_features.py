"""Readouts on tensors of one's own: what is none is refused in one line and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.heads import HEADS, create_readout

WIDTH, CLASSES = 6, 12
READOUTS = [name for name in HEADS if name != "linear"]


def samples():
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(30) % 4
    return targets[:, None] + torch.randn(30, WIDTH, generator=generator), targets


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, WIDTH), np.float32), r"a tensor of shape \(N, 6\), but got 'ndarray'"),
        ([[0.0] * WIDTH], r"a tensor of shape \(N, 6\), but got 'list'"),
        (torch.zeros(2, 5), r"of shape \(N, 6\), but got \(2, 5\)"),
        (torch.zeros(WIDTH), r"of shape \(N, 6\), but got \(6,\)"),
        (torch.full((2, WIDTH), torch.nan), "finite numbers, but got nan"),
        (torch.full((2, WIDTH), -torch.inf), "finite numbers, but got -inf"),
    ],
)
def test_what_are_no_features_is_neither_learned_nor_predicted(name, given, said):
    readout = create_readout(name, WIDTH, CLASSES).fit(*samples())
    before = {key: tensor.clone() for key, tensor in readout.state_dict().items()}
    with pytest.raises(OptionError, match=f"^features must be {said}$"):
        readout.predict(given)
    said = said.replace("N", "2") if "shape" in said else said
    for learn in (readout.update, readout.fit):
        with pytest.raises(OptionError, match=f"^features must be {said}$"):
            learn(given, torch.tensor([0, 1]))
    assert all(torch.equal(tensor, before[key]) for key, tensor in readout.state_dict().items())


@pytest.mark.parametrize("name", READOUTS)
def test_nothing_is_predicted_before_a_class_is_known(name):
    readout, (features, targets) = create_readout(name, WIDTH, CLASSES), samples()
    for learned in (readout, readout.fit(features, targets).fit(features[:0], targets[:0])):
        with pytest.raises(HamError, match="no class has been fed, .* fit it first"):
            learned.predict(features)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([0, 1], "'list'"),
        (np.array([0, 1]), "'ndarray'"),
        (torch.tensor([0.0, 1.0]), r"'torch.float32 of shape \(2,\)'"),
        (torch.tensor([[0], [1]]), r"'torch.int64 of shape \(2, 1\)'"),
    ],
)
def test_class_ids_are_whole_numbers_in_a_tensor(targets, said):
    readout = create_readout("ncm", WIDTH, CLASSES)
    with pytest.raises(OptionError, match=rf"^targets must be a tensor \(N,\) .* got {said}$"):
        readout.update(torch.ones(2, WIDTH), targets)


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_class_ids_of_any_width_are_the_same(name, dtype):
    features, targets = samples()
    expected = create_readout(name, WIDTH, CLASSES).fit(features, targets)
    found = create_readout(name, WIDTH, CLASSES).fit(features, targets.to(dtype))
    assert torch.equal(found(features), expected(features))
