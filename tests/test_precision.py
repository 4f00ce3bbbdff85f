"""Double precision on a device that has none: computed on the CPU, to the same numbers."""

from __future__ import annotations

import pytest
import torch
from reference_adapters import random_update
from without_float64 import DEVICE, Device, OnDevice, there

from avalanche_ham.adapters import LowRank
from avalanche_ham.adapters.peft_format import factorise
from avalanche_ham.backbones.preprocess import resize_matrix
from avalanche_ham.evaluation import forward_transfer
from avalanche_ham.grouping import similarities
from avalanche_ham.grouping.similarity import cosine_similarity
from avalanche_ham.heads import LinearDiscriminant, NearestClassMean, RidgeReadout
from avalanche_ham.precision import back_to, has_float64, in_float64
from avalanche_ham.strategies.inflora.subspace import SecondMoment
from avalanche_ham.strategies.sd_lora import direction as sd_lora


@pytest.fixture(autouse=True)
def device(monkeypatch):
    has_float64.cache_clear()
    autocast = torch.autocast  # knows real devices alone
    monkeypatch.setattr(torch, "autocast", lambda where, **options: autocast("cpu", **options))
    with Device():
        yield
    has_float64.cache_clear()


def moved(update):
    return {name: LowRank(there(c.a), there(c.b)) for name, c in update.items()}


def updates(*seeds):
    return [random_update(2, seed, torch.float32) for seed in seeds]


def test_the_stand_in_refuses_what_the_device_refuses_and_counts_like_the_cpu():
    x = torch.arange(6.0).view(2, 3)
    assert there(x).device == DEVICE and torch.equal((there(x) @ there(x).T).cpu(), x @ x.T)
    for ask in (
        lambda: there(x).double(),
        lambda: there(x).to("cpu", torch.float64),
        lambda: torch.zeros(2, dtype=torch.float64, device=DEVICE),
        lambda: there(x).new_zeros(2, dtype=torch.float64),
        lambda: x.double().to(DEVICE),
    ):
        with pytest.raises(TypeError, match="float64"):
            ask()
    with pytest.raises(RuntimeError, match="two devices"):
        there(x) + x


def test_a_tensor_stays_where_float64_is_and_else_goes_to_the_cpu_and_back():
    x = torch.tensor([1 / 3, 1e-30])
    assert in_float64(x).dtype == torch.float64 and in_float64(x.double()).dtype == torch.float64
    far = in_float64(there(x))
    assert far.device.type == "cpu" and torch.equal(far, x.double())
    back = back_to(far, there(x))
    assert isinstance(back, OnDevice) and torch.equal(back.cpu(), x)


def test_similarities():
    x, y, z = updates(1, 2, 3)
    expected = similarities(x, [y, z], "second")
    assert torch.equal(similarities(moved(x), [moved(y), moved(z)], "second"), expected)
    dense = cosine_similarity(there(x["first"].dense()), moved(y)["first"])
    assert dense == pytest.approx(cosine_similarity(x["first"], y["first"]), abs=1e-6)
    assert abs(dense) > 0.01


@pytest.mark.parametrize(
    "make",
    [
        lambda: RidgeReadout(5, 6, projections=30),
        lambda: RidgeReadout(5, 6, projections=30, penalty=None),
        lambda: LinearDiscriminant(5, 6),
    ],
)
def test_readouts(make):
    draw = torch.Generator().manual_seed(0)
    features, targets = torch.randn(20, 5, generator=draw), torch.arange(20) % 4
    here, far = make(), make()
    for name, buffer in list(far.named_buffers()):
        setattr(far, name, there(buffer))
    here.feed(features, targets)
    far.feed(there(features), there(targets))
    scores = far(there(features))
    assert isinstance(scores, OnDevice) and far.solution()["weights"].device == DEVICE
    assert torch.equal(scores.cpu(), here(features))


def test_a_second_moment():
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    here, far = SecondMoment(), SecondMoment()
    for _ in range(2):
        here.add(x)
        far.add(there(x))
    assert torch.equal(far.result(), here.result())


@pytest.mark.parametrize("form", ["paper", "code"])
def test_directions_and_their_inner_products(form):
    x, y = updates(1, 2)
    expected, found = (sd_lora.direction(u, form=form) for u in (x, moved(x)))
    for name in expected:
        assert found[name].b.device == DEVICE
        assert torch.equal(found[name].b.cpu(), expected[name].b)
    assert torch.equal(sd_lora.inner(moved(x), moved(y)), sd_lora.inner(x, y))


def test_the_accuracy_of_the_probe_for_forward_transfer(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    features, targets = torch.randn(9, 5, generator=draw), torch.arange(9) % 3
    place = {"to": lambda tensor: tensor}
    monkeypatch.setattr(
        forward_transfer,
        "features_of",
        lambda strategy, k: (place["to"](features[k]), place["to"](targets[k])),
    )

    class Probe(NearestClassMean):
        def to(self, device):
            for name, buffer in list(self.named_buffers()):
                setattr(self, name, place["to"](buffer))
            return self

    monkeypatch.setattr(forward_transfer, "NearestClassMean", Probe)
    model = torch.nn.Module()
    model.head = torch.nn.Module()
    model.head.n_classes = 3
    strategy = type("Strategy", (), {"model": model})()
    train, test = slice(0, 6), slice(2, 9)
    expected = forward_transfer.class_mean_accuracy(strategy, train, test)
    place["to"] = there
    assert forward_transfer.class_mean_accuracy(strategy, train, test) == expected
    assert 0 < expected < 1


def test_factors_of_a_dense_change_and_the_matrix_that_resizes():
    change = updates(1)[0]["first"].dense()
    found = factorise(there(change))
    assert isinstance(found.a, OnDevice)
    torch.testing.assert_close((found.b @ found.a).cpu(), change)
    matrix = resize_matrix(4, 7, torch.float32, DEVICE)
    assert torch.equal(matrix.cpu(), resize_matrix(4, 7, torch.float32, torch.device("cpu")))
    resize_matrix.cache_clear()
