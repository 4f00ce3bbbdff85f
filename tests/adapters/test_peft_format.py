"""The on-disk format, against peft itself."""

import json

import peft
import pytest
import torch
from reference import TwoLayers, random_update
from safetensors.torch import load_file, save_file

from avalanche_ham import create_model
from avalanche_ham.adapters import LowRank, dense
from avalanche_ham.adapters.peft_format import (
    factorise,
    load_peft,
    plain_copy,
    save_peft,
)
from avalanche_ham.errors import DataError, HamError, OptionError


@pytest.fixture
def folder(tmp_path):
    """A LoRA folder that peft itself has written, with a scale and random factors."""
    config = peft.LoraConfig(
        r=2,
        lora_alpha=6,
        rank_pattern={"second": 3},
        alpha_pattern={"seco.d": 12},
        target_modules=["first", "second"],
        init_lora_weights=False,
    )
    torch.manual_seed(0)
    peft.get_peft_model(TwoLayers(), config).save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def change_config(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def merged_by_peft(folder):
    """What each layer's weight gains when peft merges the folder into the network."""
    plain, network = TwoLayers().double(), TwoLayers().double()
    network.load_state_dict(plain.state_dict())
    merged = peft.PeftModel.from_pretrained(network, folder).merge_and_unload()
    return {
        name: merged.get_submodule(name).weight - plain.get_submodule(name).weight
        for name in ("first", "second")
    }


def test_what_peft_writes_is_read_with_its_scales(folder):
    read, expected = load_peft(folder), merged_by_peft(folder)
    assert {name: pair.rank for name, pair in read.items()} == {"first": 2, "second": 3}
    for name, change in expected.items():
        assert change.abs().max() > 0.1
        torch.testing.assert_close(read[name].dense().double(), change)


def test_rank_stabilised_scales_are_read(folder):
    plain = load_peft(folder)
    change_config(folder, use_rslora=True)
    stable = load_peft(folder)
    for name, rank in {"first": 2, "second": 3}.items():
        torch.testing.assert_close(stable[name].b, plain[name].b * rank**0.5)
        torch.testing.assert_close(stable[name].dense().double(), merged_by_peft(folder)[name])


def test_what_is_written_is_read_back_exactly_also_with_unequal_ranks(tmp_path):
    update = random_update(0, rank=2, dtype=torch.float32)
    update["second"] = random_update(1, rank=5, dtype=torch.float32)["second"]
    save_peft(TwoLayers(), update, tmp_path / "lora")
    read = load_peft(tmp_path / "lora")
    assert list(read) == ["first", "second"]
    for name in update:
        assert torch.equal(read[name].a, update[name].a)
        assert torch.equal(read[name].b, update[name].b)


def test_peft_merges_what_is_written(tmp_path):
    update = random_update(0, rank=2, dtype=torch.float32)
    update["second"] = dense(random_update(1, rank=3)["second"]).float()
    save_peft(TwoLayers(), update, tmp_path / "lora", backbone="two layers")
    for name, change in merged_by_peft(tmp_path / "lora").items():
        torch.testing.assert_close(change.float(), dense(update[name]))
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "two layers"


def test_a_low_rank_change_wider_than_its_layer_is_reduced_without_loss(tmp_path):
    update = random_update(0, rank=20, dtype=torch.float32)
    save_peft(TwoLayers(), update, tmp_path / "lora")
    read = load_peft(tmp_path / "lora")
    assert {name: pair.rank for name, pair in read.items()} == {"first": 6, "second": 6}
    for name in update:
        torch.testing.assert_close(read[name].dense(), update[name].dense(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rank", [0, 1, 3, 6])
def test_factorise_finds_the_rank(rank):
    low = random_update(0, rank=rank)["first"]
    found = factorise(low.dense())
    assert found.rank == max(rank, 1)
    torch.testing.assert_close(found.dense(), low.dense())


def test_a_plain_copy_has_no_adapters_and_leaves_the_original_alone(tiny_model):
    model = tiny_model()
    adapters = model.attach_adapters(("attn.qkv", "mlp.fc1"))
    vit = model.encoder.vit
    twin = plain_copy(vit)
    assert {type(m) for m in twin.modules()}.isdisjoint(
        {type(layer) for layer in adapters.layers.values()}
    )
    assert type(vit.blocks[0].attn.qkv) is type(next(iter(adapters.layers.values())))
    original = create_model("tiny", n_classes=10).encoder.vit.state_dict()
    copied = twin.state_dict()
    assert list(copied) == list(original)
    assert all(torch.equal(copied[name], original[name]) for name in original)


@pytest.mark.parametrize(
    "values",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"fan_in_fan_out": True},
        {"init_lora_weights": "pissa"},
        {"lora_alpha": None},
    ],
)
def test_what_an_update_cannot_express_is_refused(folder, values):
    change_config(folder, **values)
    with pytest.raises(DataError, match="only plain LoRA"):
        load_peft(folder)


def test_a_further_tensor_is_not_skipped_in_silence(folder):
    path = folder / "adapter_model.safetensors"
    extra = {"base_model.model.head.weight": torch.zeros(2, 2)}
    save_file(load_file(path) | extra, path)
    with pytest.raises(DataError, match="head.weight is no factor"):
        load_peft(folder)


def test_factors_that_do_not_fit_together_are_refused(folder):
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    del tensors["base_model.model.first.lora_B.weight"]
    save_file(tensors, path)
    with pytest.raises(DataError, match="factors of first"):
        load_peft(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", "\udcff"])
def test_a_foreign_configuration_is_refused(folder, content):
    path = folder / "adapter_config.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match="lora"):
        load_peft(folder)


def test_missing_empty_and_truncated_folders_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="no peft LoRA folder"):
        load_peft(tmp_path / "nowhere")
    weights = folder / "adapter_model.safetensors"
    save_file({}, weights)
    with pytest.raises(DataError, match="no LoRA factors"):
        load_peft(folder)
    weights.write_bytes(weights.read_bytes()[:5])
    with pytest.raises(DataError, match="no peft LoRA folder"):
        load_peft(folder)


def test_a_pickled_file_is_not_read(folder):
    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "adapter_model.bin")
    weights.unlink()
    with pytest.raises(DataError, match="no peft LoRA folder"):
        load_peft(folder)


def test_an_update_is_low_rank(folder):
    assert all(isinstance(pair, LowRank) for pair in load_peft(folder).values())


@pytest.mark.parametrize("update", [None, {}])
def test_no_change_is_refused_and_nothing_is_written(update, tmp_path):
    with pytest.raises(OptionError, match="update must be changes by layer name"):
        save_peft(TwoLayers(), update, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_of_peft_is_no_backbone_until_its_adapter_is_folded_in():
    vit = create_model("tiny", n_classes=2).encoder.vit
    wrapped = peft.get_peft_model(vit, peft.LoraConfig(target_modules=["qkv"]))
    with pytest.raises(HamError, match="model of peft; give what its merge_and_unload"):
        create_model(wrapped, n_classes=2)
    create_model(wrapped.merge_and_unload(), n_classes=2).attach_adapters()
