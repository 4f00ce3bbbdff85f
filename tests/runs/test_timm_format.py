"""A timm folder holds a network of timm's own that scores as the run did, with names and a card."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from safetensors.torch import save_file

from avalanche_ham.backbones import create_backbone
from avalanche_ham.cli.main import main
from avalanche_ham.errors import HamError
from avalanche_ham.runs.classifier import run_classifier
from avalanche_ham.runs.export import export
from avalanche_ham.runs.exported import classifier_in
from avalanche_ham.runs.records import read_records
from avalanche_ham.runs.runner import Resources, RunConfig, run

HEADS = "linear,ncm,lda,ridge,ncm_drift,lda_drift"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run on one of timm's small networks, whose weights are a local file."""
    folder = tmp_path_factory.mktemp("timm")
    vit = create_backbone("test_vit", pretrained=False, seed=3)
    save_file(vit.state_dict(), folder / "weights.safetensors")
    config = RunConfig(
        preset="smoke",
        n_tasks=2,
        head=HEADS,
        backbone="test_vit",
        image_size=32,
        weights=str(folder / "weights.safetensors"),
        options={"steps": 3, "lr": 1e-2, "rank": 2, "test_per_class": 2},
    )
    run(config, Resources(device="cpu"), out=folder / "run", show=False)
    return folder / "run"


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=generator)


def scores_of(folder, images, **options):
    with classifier_in(folder, device="cpu", **options) as classifier:
        return classifier.names, classifier.scores(images)


@pytest.mark.parametrize("head", ["linear", "lda", "ncm", "ncm_drift"])
def test_the_folder_scores_as_the_run_did(trained, head, images, tmp_path):
    words = ["export", str(trained), "--to", str(tmp_path / "to"), "--format", "timm"]
    assert main([*words, "--head", head]) == 0
    names, found = scores_of(tmp_path / "to", images)
    with run_classifier(trained, head=head, device="cpu") as classifier:
        expected = classifier.scores(images)
    assert names == classifier.names and len(names) == 10
    if head.startswith(
        "ncm"
    ):  # cosines, which timm's classifier multiplies by the feature's length
        found, expected = (s / s.norm(dim=1, keepdim=True) for s in (found, expected))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_timm_itself_loads_it_by_one_call(trained, images, tmp_path):
    main(["export", str(trained), "--to", str(tmp_path / "to"), "--format", "timm"])
    model = timm.create_model(f"local-dir:{tmp_path / 'to'}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    assert tuple(config["input_size"]) == (3, 32, 32) and model.num_classes == 10
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    large = torch.nn.functional.interpolate(images.float(), 32, mode="nearest").byte()
    with run_classifier(trained, device="cpu") as classifier, torch.no_grad():
        expected = classifier.scores(large)
        found = model((large / 255 - mean) / std)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    names = json.loads((tmp_path / "to" / "config.json").read_text())["label_names"]
    assert names == list(classifier.names)


def test_the_card_gives_what_the_record_holds(trained, tmp_path):
    words = ["export", str(trained), "--to", str(tmp_path / "to"), "--format", "timm"]
    main([*words, "--head", "lda"])
    card = ModelCard.load(tmp_path / "to" / "README.md")
    (record,) = [r for r in read_records(trained / "records.jsonl") if r["head"] == "lda"]
    values = {r.metric_type: r.metric_value for r in card.data.eval_results}
    assert values == {"accuracy": round(record["aa"], 2), "forgetting": round(record["fm"], 2)}
    assert {r.dataset_type for r in card.data.eval_results} == {"digits"}
    assert card.data.base_model == "timm/test_vit" and card.data.library_name == "timm"
    assert "has learned 10 classes of digits in 2 tasks" in card.text
    assert f"| lda | {record['aa']:.2f} | {record['fm']:.2f} |" in card.text


def test_every_format_has_a_card_of_its_heads(trained, tmp_path):
    export(trained, tmp_path / "to")
    card = ModelCard.load(tmp_path / "to" / "README.md")
    assert card.data.library_name == "peft" and len(card.data.eval_results) == 12
    given = 'create_backbone("test_vit", weights="weights.safetensors", image_size=32)'
    assert given in card.text
    names = json.loads((tmp_path / "to" / "class_names.json").read_text())
    with run_classifier(trained, device="cpu") as classifier:
        assert tuple(names) == classifier.names


def test_what_timm_cannot_hold_is_one_line(trained, tmp_path, capsys):
    words = ["export", str(trained), "--to", str(tmp_path / "to"), "--format", "timm"]
    for head in ("ridge", "lda_drift"):  # the latter looks at features of length 1
        assert main([*words, "--head", head]) == 2
        assert f"the head {head} is no linear layer; onnx takes it" in capsys.readouterr().err
    run(RunConfig(preset="smoke", n_tasks=2), Resources(device="cpu"), out=tmp_path / "tiny")
    assert main([words[0], str(tmp_path / "tiny"), *words[2:]]) == 2
    assert "tiny is none of timm's networks" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_damaged_and_other_folders_are_named(trained, images, tmp_path):
    main(["export", str(trained), "--to", str(tmp_path / "to"), "--format", "timm"])
    with pytest.raises(HamError, match="head must be left out for an exported model"):
        scores_of(tmp_path / "to", images, head="lda")
    whole = json.loads((tmp_path / "to" / "config.json").read_text())
    for text in ("", "[]", "{}", '{"label_names": 3, "pretrained_cfg": 1}', "\xff"):
        (tmp_path / "to" / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(HamError, match="cannot be read as an exported model"):
            scores_of(tmp_path / "to", images)
    for change in (
        {"architecture": "hf-hub:nobody/nothing"},
        {"architecture": "resnet18"},
        {"image_side": 10**9},
        {"pretrained_cfg": {"input_size": [3, 10**9, 10**9]}},
        {"pretrained_cfg": {"input_size": []}},
        {"label_names": ["one"]},
    ):
        config = {**whole, **change}
        (tmp_path / "to" / "config.json").write_text(json.dumps(config))
        with pytest.raises(HamError):
            scores_of(tmp_path / "to", images)
    export(trained, tmp_path / "lora")
    with pytest.raises(HamError, match="adapters without their backbone"):
        scores_of(tmp_path / "lora", images)
