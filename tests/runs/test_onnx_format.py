"""The ONNX file gives the scores of the merged model, for batches of any size."""

from __future__ import annotations

import json

import pytest
import torch

from avalanche_ham.cli.main import main
from avalanche_ham.errors import HamError
from avalanche_ham.runs import onnx_format
from avalanche_ham.runs.classifier import run_classifier
from avalanche_ham.runs.export import saved_run
from avalanche_ham.runs.exported import classifier_in
from avalanche_ham.runs.folded import fold
from avalanche_ham.runs.runner import Resources, RunConfig, run

HEADS = "linear,ncm,ridge,lda_drift"


def trained(out, method="ham", **config):
    options = {"steps": 6, "lr": 1e-2, **config.pop("options", {})}
    whole = RunConfig(method=method, preset="smoke", n_tasks=2, options=options, **config)
    run(whole, Resources(device="cpu"), out=out, show=False)
    return out


@pytest.fixture(scope="module")
def ham(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run") / "ham", head=HEADS, options={"rank": 4})


def images_of(count, side=8):
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("head", HEADS.split(","))
def test_the_folded_network_scores_as_the_evaluation_did(ham, head):
    network = fold(saved_run(ham), head=head)
    with run_classifier(ham, head=head, device="cpu") as classifier, torch.no_grad():
        images = images_of(5, network.side)
        assert tuple(network.names) == classifier.names and len(network.names) == 10
        torch.testing.assert_close(network(images), classifier.scores(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method, message", [("dual_prompt", "Prompt"), ("sema", "Expanding")])
def test_what_cannot_be_folded_is_one_line(method, message, tmp_path):
    with pytest.raises(HamError, match=message):
        fold(saved_run(trained(tmp_path / "run", method, options={})))


def test_a_missing_package_is_named_with_its_extra(ham, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnx_format, "NEEDED", ("no_such_package",))
    words = ["export", str(ham), "--to", str(tmp_path / "to"), "--format", "onnx"]
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert "no_such_package is missing; pip install 'avalanche-ham[onnx]'" in shown
    assert main([*words, "--what", "tasks"]) == 2
    assert "what must be merged with --format onnx" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS.split(","))
def test_onnxruntime_gives_the_same_scores_for_batches_of_any_size(ham, head, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    to = tmp_path / "to"
    assert main(["export", str(ham), "--to", str(to), "--format", "onnx", "--head", head]) == 0
    assert sorted(path.name for path in to.iterdir()) == ["README.md", "model.onnx", "run.json"]
    session = runtime.InferenceSession(to / "model.onnx")
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    with run_classifier(ham, head=head, device="cpu") as classifier:
        assert tuple(names) == classifier.names
        for count in (1, 3, 7):
            images = images_of(count, classifier.side)
            (scores,) = session.run(["scores"], {"images": images.numpy()})
            expected = classifier.scores(images)
            torch.testing.assert_close(torch.from_numpy(scores), expected, atol=1e-4, rtol=1e-4)
    with classifier_in(to, device="cpu") as exported:
        assert exported.names == classifier.names
        torch.testing.assert_close(exported.scores(images), expected, atol=1e-4, rtol=1e-4)
