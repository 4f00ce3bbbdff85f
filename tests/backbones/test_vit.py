"""Backbones by name, with local weights, and what is refused."""

from __future__ import annotations

import json
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from avalanche_ham.backbones import create_backbone
from avalanche_ham.backbones.hybrid import create_hybrid_vit
from avalanche_ham.backbones.vit import check_backbone
from avalanche_ham.errors import DataError, StateError, UnknownNameError


def state_of(vit) -> dict:
    return {name: tensor.clone() for name, tensor in vit.state_dict().items()}


def same(x: dict, y: dict) -> bool:
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


def test_the_tiny_backbone_follows_from_its_seed_and_touches_no_global_state():
    before = torch.get_rng_state()
    first, again, other = (create_backbone("tiny", seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(state_of(first), state_of(again))
    assert not same(state_of(first), state_of(other))


def test_a_backbone_is_frozen_in_evaluation_mode_and_without_a_classifier():
    vit = create_backbone("tiny")
    assert not vit.training and not any(p.requires_grad for p in vit.parameters())
    assert vit(torch.zeros(2, 3, 16, 16)).shape == (2, 48)


def test_any_vit_of_timm_is_built_by_its_name():
    vit = create_backbone("vit_tiny_patch16_224", pretrained=False, seed=3)
    assert isinstance(vit, timm.models.VisionTransformer) and vit.num_classes == 0


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_local_weights_replace_the_random_start_and_a_classifier_is_ignored(tmp_path, ending):
    source = state_of(create_backbone("tiny", seed=5))
    path = tmp_path / f"weights{ending}"
    stored = {**source, "head.weight": torch.zeros(10, 48), "head.bias": torch.zeros(10)}
    stored["norm.weight"] = stored["norm.weight"].half()
    save_file(stored, path) if ending == ".safetensors" else torch.save(stored, path)
    vit = create_backbone("tiny", weights=path, seed=6)
    assert same(state_of(vit), source)
    assert vit.norm.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("embeded", "embedded"), ("vit_bas_patch16_224", "vit_base_patch16_224")],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name, nearest):
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'"):
        create_backbone(name, pretrained=False)


@pytest.mark.parametrize("pretrained", [True, False])
def test_an_unknown_tag_of_a_known_vit_is_refused_with_the_nearest_one(pretrained):
    name = "vit_base_patch16_224.augreg_in21k_ft_in1k"
    with pytest.raises(UnknownNameError, match=f"did you mean '{name}'"):
        create_backbone(name[:-1] + "y", pretrained=pretrained)


def test_a_backbone_is_checked_without_being_made(monkeypatch):
    monkeypatch.setattr(timm, "create_model", None)  # would raise if it were called
    for name in ("tiny", "embedded", "vit_base_patch16_224", "vit_tiny_patch16_224"):
        check_backbone(name)
    with pytest.raises(UnknownNameError, match="did you mean 'tiny'"):
        check_backbone("tinny")


def test_weights_that_cannot_be_fetched_are_one_clear_line(monkeypatch):
    def offline(*args, **kwargs):
        raise FileNotFoundError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataError, match="the weights of vit_tiny_patch16_224 are not in timm"):
        create_backbone("vit_tiny_patch16_224")


def test_weights_that_do_not_fit_are_refused_with_the_first_difference(tmp_path):
    path = tmp_path / "weights.safetensors"
    state = state_of(create_backbone("tiny"))
    state["norm.weight"] = torch.zeros(7)
    save_file(state, path)
    with pytest.raises(StateError, match="does not fit this backbone.*norm.weight"):
        create_backbone("tiny", weights=path)
    del state["norm.weight"]
    save_file(state, path)
    with pytest.raises(StateError, match="does not fit this backbone.*norm.weight"):
        create_backbone("tiny", weights=path)


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_file_that_is_no_weights_file_is_refused(tmp_path, content, ending):
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    with pytest.raises(StateError, match="weights: cannot read"):
        create_backbone("tiny", weights=path)


def test_a_missing_weights_file_is_refused(tmp_path):
    with pytest.raises(StateError, match="cannot read"):
        create_backbone("tiny", weights=tmp_path / "none.safetensors")


def test_embedded_takes_other_weights_of_a_file_that_describes_itself(tmp_path):
    torch.manual_seed(0)
    shape = {"img_size": 64, "depth": 1, "embed_dim": 48, "num_heads": 3}
    vit = create_hybrid_vit(**shape).eval()
    config = {**shape, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    path = tmp_path / "own.safetensors"
    state = {name: tensor.contiguous() for name, tensor in vit.state_dict().items()}
    save_file(state, path, {k: json.dumps(v) for k, v in config.items()})
    found = create_backbone("embedded", weights=path)
    assert found.pretrained_cfg["input_size"] == (3, 64, 64)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(found(images), vit(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("content", [None, b"not weights at all"])
def test_embedded_refuses_a_file_that_is_missing_or_not_of_its_kind(tmp_path, content):
    path = tmp_path / "own.safetensors"
    if content:
        path.write_bytes(content)
    with pytest.raises(StateError, match="weights"):
        create_backbone("embedded", weights=path)


@pytest.mark.parametrize("content", [[1, 2], {"norm.weight": 3}])
def test_a_weights_file_that_holds_no_tensors_by_name_is_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(StateError, match="weights"):
        create_backbone("tiny", weights=path)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target) -> None:
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_weights_file_is_never_executed(tmp_path, writer):
    path, target = tmp_path / "weights.pth", tmp_path / "executed"
    if writer == "torch":
        torch.save({"norm.weight": Bomb(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(StateError, match="cannot read"):
        create_backbone("tiny", weights=path)
    assert not target.exists()
