"""A backbone's digest tells its tensors, whatever file they came in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avalanche_ham.backbones import create_backbone, create_model, embedded, weights_digest
from avalanche_ham.backbones.digest import tensors_digest
from avalanche_ham.backbones.weights import read_weights

IN_MEMORY = weights_digest(create_backbone("tiny", seed=5))


def stored(path):
    state = create_backbone("tiny", seed=5).state_dict()
    state |= {"head.weight": torch.ones(7, 48), "head.bias": torch.ones(7)}
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save({"model": state}, path)
    return path


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("image_size", [None, 24])
def test_files_and_memory_give_the_same_digest_at_any_image_size(tmp_path, ending, image_size):
    path = stored(tmp_path / f"weights{ending}")
    vit = create_backbone("tiny", weights=path, image_size=image_size, seed=6)
    assert weights_digest(vit) == IN_MEMORY
    assert (tensors_digest(vit.state_dict()) == IN_MEMORY) is (image_size is None)


def test_one_changed_value_type_shape_or_name_changes_the_digest():
    state = create_backbone("tiny", seed=5).state_dict()
    assert tensors_digest(dict(reversed(state.items()))) == IN_MEMORY
    bias = state.pop("norm.bias")
    changed = bias.clone()
    changed[3] += 1e-6
    others = [
        {"norm.bias": changed},
        {"norm.bias": bias.half()},
        {"norm.bias": bias[None]},
        {"norm.bia": bias},
        {},
    ]
    found = {tensors_digest({**state, **other}) for other in others}
    assert len(found | {IN_MEMORY}) == 6


def test_a_random_backbone_s_digest_follows_from_its_seed():
    assert weights_digest(create_backbone("tiny", seed=5)) == IN_MEMORY
    assert weights_digest(create_backbone("tiny", seed=6)) != IN_MEMORY
    assert len(IN_MEMORY) == len("sha256-") + 32 and IN_MEMORY.startswith("sha256-")


def test_the_digest_stays_when_layers_are_adapted_or_the_size_changes():
    model = create_model(create_backbone("tiny", seed=5), n_classes=3, image_size=32)
    model.attach_adapters()
    assert model.encoder.vit.pos_embed.shape[1] == 65
    assert weights_digest(model.encoder.vit) == IN_MEMORY


def test_the_embedded_digest_is_of_its_tensors_before_folding():
    stored = read_weights(Path(embedded.__file__).with_name(embedded.EMBEDDED_FILE))
    assert weights_digest(create_backbone("embedded")) == tensors_digest(stored)
    random = [weights_digest(create_backbone("embedded", pretrained=False, seed=s)) for s in (1, 2)]
    assert len({*random, tensors_digest(stored)}) == 3
