"""Bad input from Python: one clear error that names option, what is allowed and what was given."""

from __future__ import annotations

import pytest
import torch
from toys import ham

from avalanche_ham.errors import (
    DataError,
    HamError,
    NoMatchError,
    OptionError,
    StateError,
    UnknownNameError,
)
from avalanche_ham.runs.runner import Resources, RunConfig, run

CPU = Resources(device="cpu")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"method": "hamm"},
            UnknownNameError,
            "method must be one of .*'hamm' .*mean 'ham'",
        ),
        (
            {"benchmark": "digit"},
            UnknownNameError,
            "benchmark must .*did you mean 'digits'",
        ),
        ({"preset": "smoky"}, UnknownNameError, "preset must .*did you mean 'smoke'"),
        ({"backbone": "tinny"}, UnknownNameError, "backbone must .*did you mean 'tiny'"),
        ({"head": "rigde"}, UnknownNameError, "head must .*did you mean 'ridge'"),
        (
            {"options": {"keeep": 0.5}},
            UnknownNameError,
            "option of ham .*did you mean 'keep'",
        ),
        ({"options": {"merge": "linaer"}}, UnknownNameError, "did you mean 'linear'"),
        ({"options": {"scope": "curent"}}, UnknownNameError, "did you mean 'current'"),
        ({"options": {"precision": "fp23"}}, UnknownNameError, "did you mean 'fp32'"),
        ({"options": {"rank": 49}}, OptionError, "rank must be between 1 and 48.*got 49"),
        ({"options": {"rank": 0}}, OptionError, "rank must be at least 1, but got 0"),
        (
            {"options": {"keep": 0.0}},
            OptionError,
            "keep must be above 0 and at most 1.*got 0.0",
        ),
        (
            {"options": {"keep": 1.5}},
            OptionError,
            "keep must be above 0 and at most 1.*got 1.5",
        ),
        (
            {"options": {"max_groups": 0}},
            OptionError,
            "max_groups must be at least 1.*got 0",
        ),
        ({"options": {"lr": float("nan")}}, OptionError, "lr must be a finite .*got nan"),
        ({"options": {"keep": float("inf")}}, OptionError, "keep must be a finite .*got inf"),
        ({"options": {"density": 1.5}}, OptionError, "density must be .*got 1.5"),
        ({"options": {"steps": 0}}, OptionError, "steps must be at least 1.*got 0"),
        ({"options": {"lr": "fast"}}, OptionError, "lr must be a number.*'fast'"),
        ({"options": {"targets": ("attn.qvk",)}}, NoMatchError, "'attn.qvk'"),
        ({"n_tasks": 11}, OptionError, "n_tasks must be .*10 .*got 11"),
        ({"n_tasks": 0}, OptionError, "n_tasks must be .*got 0"),
        ({"seed": -1}, OptionError, "seed must be at least 0.*got -1"),
        ({"weights": "missing.safetensors"}, StateError, "weights: cannot read missing"),
        ({"options": {"train_per_class": 0}}, OptionError, "train_per_class must .*got 0"),
        ({"options": {"holdout": 1.0}}, OptionError, "holdout must .*got 1.0"),
    ],
)
def test_a_run_is_refused_before_anything_is_written(tmp_path, settings, error, message):
    config = RunConfig(**{"preset": "smoke", "n_tasks": 2, **settings})
    with pytest.raises(error, match=message) as caught:
        run(config, CPU, out=tmp_path / "out", show=False)
    assert isinstance(caught.value, HamError) and isinstance(caught.value, ValueError)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:-1", "tpu0", "meta", "cpu:1"])
def test_a_device_that_does_not_exist_is_refused(device):
    with pytest.raises(OptionError, match=f"device must be auto, cpu or .*{device}"):
        run(RunConfig(preset="smoke"), Resources(device=device), show=False)


@pytest.mark.parametrize("threads", [0, 999_999_999])
def test_a_number_of_threads_that_a_machine_cannot_have_is_refused(threads):
    with pytest.raises(OptionError, match=f"threads must be .* at most 1024.*{threads}"):
        Resources(device="cpu", threads=threads)


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(HamError, match="is a file, not a folder"):
        run(RunConfig(preset="smoke"), CPU, out=out, show=False)
    assert out.read_text() == "mine"


def test_missing_data_are_refused_before_anything_is_written(tmp_path):
    config = RunConfig(preset="smoke", benchmark="image_folder")
    resources = Resources(device="cpu", data_root=str(tmp_path / "none"))
    with pytest.raises(DataError, match="none"):
        run(config, resources, out=tmp_path / "out", show=False)
    assert not (tmp_path / "out").exists()


def test_a_model_with_too_few_classes_says_so(benchmark, tiny_model):
    strategy = ham(tiny_model(n_classes=3))
    with pytest.raises(OptionError, match="class ids must be from 0 to 2, but got"):
        strategy.train(benchmark.train_stream, eval_streams=[])


@pytest.mark.parametrize("shape", [(16, 16), (3, 16, 16), (2, 5, 16, 16)])
def test_images_of_a_wrong_shape_are_refused(model, shape):
    with pytest.raises(DataError, match=r"\(N, 1 or 3, H, W\), but got \(" + str(shape[0])):
        model(torch.zeros(shape, dtype=torch.uint8))
