"""Weights files: what is plain is loaded, all else is one line that names the cure."""

from __future__ import annotations

import argparse
import errno
import os

import pytest
import torch
from safetensors.torch import save_file

from avalanche_ham.backbones.weights import first_misfit, read_weights
from avalanche_ham.errors import StateError

STATE = {"norm.weight": torch.arange(3.0), "norm.bias": torch.ones(3, dtype=torch.float16)}


def same_as_state(found: dict) -> bool:
    return found.keys() == STATE.keys() and all(
        found[name].dtype == torch.float32 and torch.equal(found[name], STATE[name].float())
        for name in STATE
    )


@pytest.mark.parametrize("wrap", ["{}", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_found_in_its_wrapper_and_under_its_prefix(tmp_path, wrap, prefix, legacy):
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    content = state if wrap == "{}" else {wrap: state, "epoch": 3, "best": 0.5}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert same_as_state(read_weights(tmp_path / "w.pth"))


@pytest.mark.parametrize("ending", [".safetensors", ".bin", ""])
def test_the_content_tells_the_format_and_not_the_name(tmp_path, ending):
    save_file(STATE, tmp_path / f"w{ending}")
    assert same_as_state(read_weights(tmp_path / f"w{ending}"))
    torch.save(STATE, tmp_path / f"w{ending}")
    assert same_as_state(read_weights(tmp_path / f"w{ending}"))


def test_counters_stay_whole_numbers(tmp_path):
    torch.save({"num_batches_tracked": torch.tensor(7)}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth")["num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (b"<!DOCTYPE html><html></html>", "a web page; download the file itself"),
        (b"\n <html>", "a web page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"", "empty; copy or download it again"),
        (b"not weights at all", "no weights file"),
    ],
)
def test_a_file_that_holds_something_else_says_what(tmp_path, ending, content, cure):
    path = tmp_path / f"w{ending}"
    path.write_bytes(content)
    with pytest.raises(StateError, match=f"weights: cannot read {path}: it is .*{cure}"):
        read_weights(path)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_file_says_so(tmp_path, kind, kept):
    path = tmp_path / "w"
    state = {f"layer.{i}": torch.randn(50) for i in range(20)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(StateError, match="truncated or damaged; copy or download it again"):
        read_weights(path)


def test_objects_beside_the_tensors_are_refused_with_the_cure(tmp_path):
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    with pytest.raises(StateError, match=r"never executed; .*torch.save\(model.state_dict\(\)"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {}, {"model": {}}, {"a": STATE, "b": 2}])
def test_only_tensors_by_name_are_weights(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(StateError, match="does not hold tensors by name"):
        read_weights(tmp_path / "w.pth")


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StateError, match="it is a folder; name the file inside"):
        read_weights(tmp_path)
    with pytest.raises(StateError, match="No such file"):
        read_weights(tmp_path / "none.pth")


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StateError, match="Permission denied"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("abcde", 'Missing key(s) in state_dict: "a.bias", "b.bias", "c.bias" and 2 more'),
        ("ab", 'Missing key(s) in state_dict: "a.bias", "b.bias".'),
    ],
)
def test_a_few_of_many_names_that_do_not_fit_are_told(names, said):
    layers = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1) for name in "abcde"})
    state = {k: v for k, v in layers.state_dict().items() if k[0] not in names or "bias" not in k}
    with pytest.raises(RuntimeError) as refused:
        layers.load_state_dict({**state, "other": torch.ones(1)})
    assert first_misfit(refused.value) == said


def test_another_shape_and_another_error_are_told_as_they_are():
    with pytest.raises(RuntimeError) as refused:
        torch.nn.Linear(2, 1, bias=False).load_state_dict({"weight": torch.ones(1, 3)})
    assert first_misfit(refused.value).startswith("size mismatch for weight: copying a param")
    assert first_misfit(KeyError("mean")) == "'mean'"
