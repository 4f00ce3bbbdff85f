"""The untouched backbone's accuracies are measured by the first of the runs that need them."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from toys import make

from avalanche_ham import create_model
from avalanche_ham.runs import transfer as module
from avalanche_ham.runs.runner import Resources, RunConfig, run
from avalanche_ham.runs.transfer import kept_accuracies
from avalanche_ham.strategies.registry import METHODS

PROBED = Resources(device="cpu", probes=True)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run on a backbone whose weights have a digest, with a cache of its own."""
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_vit", img_size=32, num_classes=0).state_dict(), weights)

    def make(method="lora", **settings):
        given = {"backbone": "test_vit", "image_size": 32, "weights": str(weights), **settings}
        return RunConfig(method=method, preset="smoke", n_tasks=3, **given)

    return make


@pytest.fixture
def measured(monkeypatch):
    """How many tasks' class means were measured."""
    original, calls = module.class_mean_accuracy, []

    def spy(strategy, train, test, *known):
        calls.append(train)
        return original(strategy, train, test, *known)

    monkeypatch.setattr(module, "class_mean_accuracy", spy)
    return calls


@pytest.mark.parametrize("method", ["ham", "lora", "frozen"])
def test_a_second_run_reads_them_and_gets_the_same_transfer(method, config, measured):
    first = run(config(method), PROBED, show=False)
    assert len(measured) == 4  # two later tasks, before all and before each
    second = run(config(method), PROBED, show=False)
    assert len(measured) == 6 and second["fwt"] == first["fwt"]


@pytest.mark.slow
def test_methods_share_them_and_others_do_not(config, measured):
    run(config("lora"), PROBED, show=False)
    for other, extra in [
        (config("ham"), 2),
        (config("l2p"), 4),  # prompts before the first task are not the untouched backbone
        (config("lora", seed=2), 4),
        (config("lora", image_size=48), 4),
        (config("lora", options={"train_per_class": 7}), 4),
        (config("lora", options={"precision": "bf16"}), 4),
    ]:
        before = len(measured)
        run(other, PROBED, show=False)
        assert len(measured) - before == extra, other


@pytest.mark.parametrize("kept", ["", "[0.5]", "[0.5, 2.0]", "[0.5, NaN]", "[0.5, null]", "{}"])
def test_a_damaged_file_is_measured_again_and_replaced(kept, tmp_path):
    path = tmp_path / "kept.json"
    path.write_text(kept)
    assert kept_accuracies(path, 2, lambda: [0.25, 1.0]) == [0.25, 1.0]
    assert json.loads(path.read_text()) == [0.25, 1.0]
    assert kept_accuracies(path, 2, lambda: pytest.fail("measured again")) == [0.25, 1.0]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert kept_accuracies(tmp_path / "file" / "kept.json", 1, lambda: [0.5]) == [0.5]


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.head is None])
def test_methods_that_share_them_start_as_the_untouched_backbone(method):
    images = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    plain, strategy = create_model("tiny", n_classes=10), make(method)
    shares = type(strategy.model.encoder) is type(plain.encoder)
    assert shares == (method not in ("l2p", "dual_prompt", "coda_prompt", "sema"))
    if shares:
        strategy.model.eval()
        with torch.no_grad(), strategy.evaluation_weights():
            found = strategy.model.encode(images).features
            torch.testing.assert_close(found, plain.eval().encode(images).features)
