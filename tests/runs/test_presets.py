"""The preset ``paper`` end to end, in miniature: every method of the paper's tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sampling import some_of

from avalanche_ham.errors import OptionError
from avalanche_ham.reporting.paper import METHODS
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.presets import PRESETS, preset_values
from avalanche_ham.runs.runner import run

FEW = {"train_per_class": 8, "test_per_class": 4}


@pytest.mark.parametrize("method", some_of(METHODS, "ham"))
def test_the_paper_preset_runs_end_to_end(method):
    config = RunConfig(
        method=method,
        benchmark="digits",
        n_tasks=2,
        preset="paper",
        head="ridge",
        backbone="tiny",
        options=dict(FEW),
    )
    record = run(config, Resources(device="cpu", threads=1), show=False)
    used = record["hyperparameters"]
    wanted = {k: v for k, v in preset_values("paper", "digits").items() if k != "backbone"}
    assert {k: used[k] for k in wanted} == wanted
    assert used["precision"] == "bf16" and used["steps"] is None
    assert len(record["accuracy_matrix"]) == 2 and 0 <= record["aa"] <= 100


def test_bird_tasks_get_more_epochs_for_they_have_few_images():
    assert preset_values("paper", "cub200")["epochs"] == 20
    assert preset_values("paper", "cifar100")["epochs"] == 5


def test_study_always_measures_what_only_probes_can(monkeypatch):
    monkeypatch.setitem(PRESETS, "study", {**PRESETS["smoke"], "probes": True})
    config = RunConfig(method="lora", n_tasks=2, preset="study")
    record = run(config, Resources(device="cpu"), show=False)
    assert record["a_t"] is not None and record["fwt"] is not None
    assert run(replace(config, preset="smoke"), Resources(device="cpu"), show=False)["fwt"] is None


@pytest.mark.parametrize("name", ["gtsrb43", "GTSRB", "digits", "cub100+Omniglot"])
def test_what_a_mirror_changes_is_not_mirrored(name):
    assert preset_values("study", name)["augment"] == "none"
    assert preset_values("study", "cub100")["augment"] == "flip"


def test_a_preset_s_image_size_is_that_of_its_backbone_also_where_it_is_named():
    own = PRESETS["study"]["backbone"]

    def size(**asked):
        return resolve_config(RunConfig(preset="study", **asked)).image_size

    assert size() == size(backbone=own) == 96
    assert size(backbone="embedded") == 160 and size(backbone=own, image_size=224) == 224


@pytest.mark.parametrize(
    ("benchmark", "image_size", "stored"),
    [("a+b", 96, {}), ("a+b", 224, {"size": 224}), ("a", 224, {}), ("a", 384, {"size": 384})],
)
def test_images_are_stored_no_smaller_than_the_network_takes_them(benchmark, image_size, stored):
    def data(**options):
        config = RunConfig(
            benchmark=benchmark,
            preset="paper",
            backbone="vit_tiny_patch16_224",
            image_size=image_size,
            options=options,
        )
        return resolve_config(config).data

    assert {k: v for k, v in data().items() if k == "size"} == stored
    assert data(size=64)["size"] == 64  # what is asked for stays


def test_an_image_size_of_nothing_is_refused():
    with pytest.raises(OptionError, match="image_size must be"):
        resolve_config(RunConfig(preset="study", image_size=0))
