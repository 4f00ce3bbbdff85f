"""The continual model: timm's features, the head, a readout that speaks in evaluation only."""

from __future__ import annotations

import copy

import pytest
import timm
import torch

from avalanche_ham import create_model
from avalanche_ham.backbones import create_backbone
from avalanche_ham.errors import HamError, NoMatchError, UnknownNameError

IMAGES = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()


def test_features_are_timm_s_own_on_the_preprocessed_images(model):
    vit = model.encoder.vit
    prepared = model.encoder.preprocess(IMAGES)
    expected = vit.forward_head(vit.forward_features(prepared), pre_logits=True)
    features, penalty = model.encode(IMAGES)
    torch.testing.assert_close(features, expected)  # fewer tokens pass the last MLP
    assert features.shape == (3, 48) and penalty is None


def test_a_vit_of_one_s_own_keeps_its_statistics_size_and_weights():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=5)
    expected = vit.forward_head(vit.forward_features(torch.ones(1, 3, 32, 32)), pre_logits=True)
    model = create_model(vit, n_classes=10)
    config = timm.data.resolve_data_config({}, model=vit)
    assert model.encoder.preprocess.size == (32, 32)
    assert model.encoder.preprocess.mean.flatten().tolist() == pytest.approx(config["mean"])
    assert model.encoder.preprocess.std.flatten().tolist() == pytest.approx(config["std"])
    torch.testing.assert_close(model.encode(torch.ones(1, 3, 32, 32)).features, expected)
    assert not any(p.requires_grad for p in vit.parameters())


def test_logits_are_the_head_s_over_all_classes(model):
    model.head.grow([3, 8])
    logits = model(IMAGES)
    assert logits.shape == (3, 10)
    assert torch.equal(logits, model.head(model.encode(IMAGES).features))


@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_a_readout_predicts_in_evaluation_once_it_is_fed(tiny_model, name):
    model = tiny_model(head=name)
    model.head.grow([3, 8])
    features = model.encode(IMAGES).features
    model.eval()
    assert torch.equal(model(IMAGES), model.head(features))
    model.readout.feed(features, torch.tensor([3, 8, 3]))
    assert torch.equal(model(IMAGES), model.readout(features))
    model.train()
    assert torch.equal(model(IMAGES), model.head(features))


def test_adapters_can_be_attached_once_and_become_a_part_of_the_model(model):
    adapters = model.attach_adapters(("mlp.fc1",))
    assert model.adapters is adapters and "adapters.scales" in model.state_dict()
    assert list(adapters.layers) == [f"blocks.{b}.mlp.fc1" for b in range(3)]
    with pytest.raises(HamError, match="carries adapters already"):
        model.attach_adapters()


def test_a_network_belongs_to_the_model_whose_adapters_it_carries(model):
    second = create_model(model.encoder.vit, n_classes=10)  # both made before either adapts it
    untouched = copy.deepcopy(model.encoder.vit)
    model.attach_adapters()
    layers = {name: id(layer) for name, layer in model.adapters.layers.items()}
    with pytest.raises(HamError, match="give each model a copy.deepcopy of the untouched network"):
        second.attach_adapters()
    with pytest.raises(HamError, match="backbone: the network carries the adapters of another"):
        create_model(model.encoder.vit, n_classes=10)
    with pytest.raises(HamError, match="backbone: the network carries the adapters of another"):
        create_model(model.encoder, n_classes=10)
    assert second.adapters is None
    now = {name: id(model.encoder.vit.get_submodule(name)) for name in layers}
    assert now == layers
    create_model(untouched, n_classes=10).attach_adapters()


def test_targets_that_match_nothing_raise(model):
    with pytest.raises(NoMatchError, match="'attn.kv'"):
        model.attach_adapters(("attn.kv",))


def test_the_same_seed_makes_the_same_model_and_touches_no_global_state():
    state = torch.get_rng_state()
    one, two, other = (
        create_model("tiny", n_classes=4, head="ridge", seed=s).state_dict() for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_model_from_a_name_is_the_one_from_the_same_backbone():
    named = create_model("tiny", n_classes=4, seed=7)
    built = create_model(create_backbone("tiny", seed=7), n_classes=4)
    assert torch.equal(named.encode(IMAGES).features, built.encode(IMAGES).features)


def test_an_unknown_head_is_refused_with_the_nearest_name():
    with pytest.raises(
        UnknownNameError, match="head must be one of lda, .*linear, ncm, .*ridge.*'ridge'"
    ):
        create_model("tiny", n_classes=4, head="rigde")
