"""The embedded backbone: what ships is whole, loads offline, and its features are good."""

import hashlib
import json
import os
import socket
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from avalanche_ham.backbones.embedded import (
    EMBEDDED_FILE,
    EMBEDDED_SHA256,
    hybrid_from_bytes,
    load_embedded,
)
from avalanche_ham.backbones.model import create_model
from avalanche_ham.backbones.preprocess import Preprocess
from avalanche_ham.errors import StateError
from avalanche_ham.heads import NearestClassMean

FOLDER = files("avalanche_ham.backbones")


@pytest.fixture(scope="module")
def data():
    return FOLDER.joinpath(EMBEDDED_FILE).read_bytes()


@pytest.fixture(scope="module")
def vit():
    return load_embedded()


def _features(vit, images):
    """Features ``(N, d)`` of uint8 images ``(N, 3, H, W)``."""
    config = vit.pretrained_cfg
    preprocess = Preprocess(config["input_size"][1:], config["mean"], config["std"])
    with torch.inference_mode():
        return torch.cat([vit(preprocess(part)) for part in images.split(200)])


def _nearest_class_mean(vit, train, test):
    """Accuracy in [0, 1] on ``test``; both are pairs of uint8 images and class ids."""
    readout = NearestClassMean(vit.num_features, int(train[1].max()) + 1)
    readout.feed(_features(vit, train[0]), train[1])
    guess = readout(_features(vit, test[0])).argmax(1)
    return (guess == test[1]).float().mean().item()


def test_file_is_small_and_has_the_released_checksum(data):
    assert len(data) <= 12 * 2**20
    assert hashlib.sha256(data).hexdigest() == EMBEDDED_SHA256


def test_card_names_the_released_file():
    assert EMBEDDED_SHA256 in FOLDER.joinpath("EMBEDDED.md").read_text(encoding="utf-8")


def test_loads_in_fp32_without_classifier_and_without_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    vit = load_embedded()
    assert not vit.training
    assert {p.dtype for p in vit.parameters()} == {torch.float32}
    size = vit.pretrained_cfg["input_size"]
    assert vit(torch.zeros(2, *size)).shape == (2, vit.num_features)
    assert all(len(vit.pretrained_cfg[name]) == 3 for name in ("mean", "std"))


def test_two_loads_are_equal_but_share_nothing(vit):
    other = load_embedded()
    mine, theirs = vit.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight
    assert torch.equal(mine, theirs)
    assert mine.data_ptr() != theirs.data_ptr()


def test_random_weights_of_the_same_shape_come_from_the_seed(vit):
    def made(**options):
        return create_model("embedded", n_classes=10, **options).encoder

    shipped, first = made(), made(pretrained=False, seed=1)
    again, other = made(pretrained=False, seed=1), made(pretrained=False, seed=2)
    x = torch.zeros(1, *vit.pretrained_cfg["input_size"], dtype=torch.uint8)
    with torch.no_grad():
        features = [encoder(x).features for encoder in (shipped, first, again, other)]
    assert torch.equal(features[1], features[2])
    assert not torch.allclose(features[0], features[1])
    assert not torch.allclose(features[1], features[3])
    names = [n for n, _ in shipped.named_parameters()]
    assert names == [n for n, _ in first.named_parameters()]


def test_every_block_and_the_stem_are_trained(vit, data):
    """No tensor is left at a constant, as a forgotten weight would be."""
    names = [name for name, value in load(data).items() if value.numel() > 1 and value.std() == 0]
    assert names == []


@pytest.mark.parametrize("position", [-1, 5000])
def test_a_damaged_file_is_refused(data, position):
    damaged = bytearray(data)
    damaged[position] ^= 1
    with pytest.raises(StateError, match="damaged"):
        hybrid_from_bytes(bytes(damaged), sha256=EMBEDDED_SHA256)


def test_a_file_that_does_not_describe_itself_is_refused_by_what_it_lacks(data):
    with pytest.raises(StateError, match="its header does not say depth, embed_dim, img_size"):
        hybrid_from_bytes(save(load(data)))


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 100])
def test_foreign_content_is_refused(content):
    with pytest.raises(StateError, match="cannot be used"):
        hybrid_from_bytes(content)


def test_a_missing_weight_is_refused(data):
    weights = load(data)
    del weights["blocks.0.attn.qkv.weight"]
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    with pytest.raises(StateError, match="blocks.0.attn.qkv.weight"):
        hybrid_from_bytes(save(weights, metadata))


@pytest.mark.slow
def test_features_separate_digits(vit):
    """Grey 8 x 8 images, nothing like the training data; random weights separate them, too."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.tensor(digits.images * 255 / 16).round().to(torch.uint8)
    images = grey[:, None].expand(-1, 3, -1, -1)
    labels = torch.tensor(digits.target)
    train, test = (images[:50], labels[:50]), (images[50:100], labels[50:100])
    assert _nearest_class_mean(vit, train, test) > 0.45  # chance is 0.1


@pytest.mark.data
def test_features_separate_held_out_tiny_imagenet(vit):
    root = Path(os.environ.get("AVALANCHE_HAM_DATA", ""), "tiny-imagenet")
    if not (root / "train").is_dir():
        pytest.skip("AVALANCHE_HAM_DATA holds no tiny-imagenet")
    train, test = _some_images(root / "train", 20), _some_images(root / "test", 10)
    assert _nearest_class_mean(vit, train, test) > 0.35  # chance is 0.005


def _some_images(folder, per_class):
    """Read the first images of each class as uint8 ``(N, 3, 64, 64)`` with class ids."""
    import numpy as np
    from PIL import Image

    images, labels = [], []
    for label, name in enumerate(sorted(p for p in folder.iterdir() if p.is_dir())):
        for path in sorted(name.iterdir())[:per_class]:
            images.append(np.asarray(Image.open(path).convert("RGB")))
            labels.append(label)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels)
