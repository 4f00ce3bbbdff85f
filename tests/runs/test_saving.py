"""Saved states: exact, atomic, and nothing but data."""

from __future__ import annotations

import hashlib
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load, save

from avalanche_ham.adapters import LowRank
from avalanche_ham.errors import StateError
from avalanche_ham.runs import saving
from avalanche_ham.runs.saving import BLANK, FORMAT, MAIN, load_tree, save_tree
from avalanche_ham.state import Archive, count_stored


def update(seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        "layer": LowRank(
            torch.randn(2, 3, generator=generator), torch.randn(4, 2, generator=generator)
        )
    }


def tree(n_archived: int) -> dict:
    return {
        "numbers": [1, -2.5, 1 / 3, True, None, "text", [], {}],
        "nested": {"x": torch.arange(6).view(2, 3), "half": torch.rand(3).bfloat16()},
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(1 / 3),
        "list": [update(50), {"y": [torch.ones(1), torch.zeros(2, dtype=torch.bool)]}],
        "past": Archive(update(k) for k in range(n_archived)),
    }


def same(x, y) -> bool:
    if isinstance(x, torch.Tensor):
        return isinstance(y, torch.Tensor) and x.dtype == y.dtype and torch.equal(x, y)
    if isinstance(x, dict):
        return list(x) == list(y) and all(same(x[k], y[k]) for k in x)
    if isinstance(x, (list, tuple)):
        return type(x) is type(y) and len(x) == len(y) and all(map(same, x, y))
    return type(x) is type(y) and x == y


def test_a_tree_comes_back_bit_by_bit_with_its_types(tmp_path):
    torch.manual_seed(0)
    saved = tree(2)
    save_tree(tmp_path / "new" / "folder", saved)
    assert same(load_tree(tmp_path / "new" / "folder"), saved)


def test_views_and_shared_tensors_come_back_each_with_its_own_values(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    saved = {"row": whole[1], "transposed": whole.T, "same": whole, "twin": whole}
    save_tree(tmp_path, saved)
    loaded = load_tree(tmp_path)
    assert same(loaded, saved)
    loaded["same"].zero_()
    assert torch.equal(loaded["twin"], whole)


def test_items_of_an_archive_are_written_once_each(tmp_path):
    archive = Archive()
    stamps = []
    for k in range(3):
        archive.append(update(k))
        save_tree(tmp_path, {"past": archive})
        stamps.append({p.name: p.stat().st_mtime_ns for p in tmp_path.glob("past-*")})
    assert [len(s) for s in stamps] == [1, 2, 3]
    assert all(stamps[2][name] == stamp for s in stamps for name, stamp in s.items())


def file_of(folder, index: int):
    """The file of an item of the tree's archive."""
    (path,) = folder.glob(f"past-{index:04d}-*.safetensors")
    return path


def test_an_archive_grows_on_after_loading_without_writing_old_items_again(tmp_path):
    save_tree(tmp_path, tree(2))
    first = file_of(tmp_path, 0).stat().st_mtime_ns
    loaded = load_tree(tmp_path)
    loaded["past"].append(update(2))
    save_tree(tmp_path, loaded)
    assert file_of(tmp_path, 0).stat().st_mtime_ns == first
    assert same(load_tree(tmp_path)["past"], tree(3)["past"])


def test_a_second_folder_gets_all_items_of_an_archive(tmp_path):
    saved = tree(2)
    save_tree(tmp_path / "one", saved)
    save_tree(tmp_path / "two", saved)
    assert same(load_tree(tmp_path / "two")["past"], saved["past"])


def other_tree() -> dict:
    """Another strategy's, with an archive under the same name."""
    return {"past": Archive([update(8), update(9)])}


def test_two_that_save_into_one_folder_each_leave_their_own_state(tmp_path):
    one, two = tree(1), other_tree()
    for saved in (one, two, one, two):
        save_tree(tmp_path, saved)
        assert same(load_tree(tmp_path), saved)
        assert len(list(tmp_path.glob("past-*"))) == len(saved["past"])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_another_s_save_that_is_cut_short_leaves_the_old_state(tmp_path, monkeypatch, which):
    old = tree(1)
    save_tree(tmp_path, old)
    real, calls = os.replace, []

    def die_at(*args):
        calls.append(args)
        if len(calls) == which + 1:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(os, "replace", die_at)
    with pytest.raises(KeyboardInterrupt):
        save_tree(tmp_path, other_tree())
    assert same(load_tree(tmp_path), old)


def test_a_folder_from_before_files_were_named_after_what_they_hold_goes_on(tmp_path):
    save_tree(tmp_path, tree(2))
    for k in range(2):
        file_of(tmp_path, k).rename(tmp_path / f"past-{k:04d}.safetensors")
    main = (tmp_path / MAIN).read_bytes()
    skeleton = json.loads(saving._header(main)["tree"])
    for k, (_, digest) in enumerate(skeleton["past"]["$archive"]):
        skeleton["past"]["$archive"][k] = [f"past-{k:04d}.safetensors", digest]
    (tmp_path / MAIN).write_bytes(digested(load(main), json.dumps(skeleton)))
    loaded = load_tree(tmp_path)
    assert same(loaded["past"], tree(2)["past"])
    loaded["past"].append(update(2))
    save_tree(tmp_path, loaded)
    assert same(load_tree(tmp_path)["past"], tree(3)["past"])
    assert len(list(tmp_path.glob("past-*"))) == 3


def test_a_file_of_somebody_else_s_stays(tmp_path):
    (tmp_path / "model-0001.safetensors").write_bytes(b"weights")
    save_tree(tmp_path, tree(1))
    assert (tmp_path / "model-0001.safetensors").exists()


def test_a_copied_archive_grows_by_itself_and_is_not_written_again(tmp_path):
    archive = Archive([update(0)])
    copied = archive.copied()
    save_tree(tmp_path, {"past": copied})
    stamp = file_of(tmp_path, 0).stat().st_mtime_ns
    archive.append(update(1))
    copied.append(update(2))
    for grown, last in ((archive, 1), (copied, 2)):
        save_tree(tmp_path, {"past": grown})
        assert file_of(tmp_path, 0).stat().st_mtime_ns == stamp
        assert same(load_tree(tmp_path)["past"], Archive([update(0), update(last)]))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_save_that_is_cut_short_leaves_the_old_state_or_the_new_one(
    tmp_path, monkeypatch, call, which
):
    torch.manual_seed(0)
    old = tree(1)
    save_tree(tmp_path, old)
    real, calls = getattr(os, call), []

    def die_at(*args):
        calls.append(args)
        if len(calls) == which + 1:
            raise KeyboardInterrupt
        return real(*args)

    new = {**old, "numbers": [2]}
    new["past"] = load_tree(tmp_path)["past"]
    new["past"].extend([update(1), update(2)])  # two archive files and the main one
    with monkeypatch.context() as patch:
        patch.setattr(os, call, die_at)
        with pytest.raises(KeyboardInterrupt):
            save_tree(tmp_path, new)
    assert len(calls) == which + 1
    again = load_tree(tmp_path)
    assert same(again, old)
    again["past"].extend([update(1), update(2)])
    save_tree(tmp_path, {**again, "numbers": [2]})  # what a resumed run does
    assert same(load_tree(tmp_path), {**tree(3), "numbers": [2], "nested": old["nested"]})


def corrupt(path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    else:
        changed = {
            "empty": b"",
            "truncated": data[: len(data) // 2],
            "one byte short": data[:-1],
            "changed": data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
            "foreign": save({"x": torch.zeros(1)}),
            "text": b"hello",
        }[kind]
        path.write_bytes(changed)


@pytest.mark.parametrize(
    "kind",
    ["missing", "empty", "truncated", "one byte short", "changed", "foreign", "text"],
)
def test_a_damaged_archive_file_is_refused(tmp_path, kind):
    save_tree(tmp_path, tree(2))
    corrupt(file_of(tmp_path, 1), kind)
    with pytest.raises(StateError, match="past-0001-.*safetensors"):
        load_tree(tmp_path)


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "truncated", "one byte short", "changed", "foreign", "text"]
)
def test_a_damaged_main_file_is_refused(tmp_path, kind):
    save_tree(tmp_path, tree(2))
    corrupt(tmp_path / MAIN, kind)
    with pytest.raises(StateError, match=MAIN):
        load_tree(tmp_path)


@pytest.mark.parametrize(
    "skeleton",
    [
        '{"a": {"$tensor": "/none"}}',
        "{not json",
        '{"a": {"$archive": 3}}',
        '{"a": {"$low_rank": [1]}}',
    ],
)
def test_a_skeleton_that_points_nowhere_is_refused(tmp_path, skeleton):
    data = digested({"/x": torch.zeros(1)}, skeleton)
    (tmp_path / MAIN).write_bytes(data)
    with pytest.raises(StateError, match=f"damaged.*remove {tmp_path} to start the run"):
        load_tree(tmp_path)


def digested(tensors, skeleton: str) -> bytes:
    """A main file whose digest is right."""
    about = {"format": FORMAT, "digest": BLANK, "tree": skeleton}
    data = save(tensors, metadata=about)
    return data.replace(BLANK.encode(), hashlib.sha256(data).hexdigest().encode())


@pytest.mark.parametrize("pattern", [MAIN, "past-0000-*"])
def test_no_flipped_byte_is_ever_loaded(tmp_path, pattern):
    save_tree(tmp_path, tree(1))
    (path,) = tmp_path.glob(pattern)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        path.write_bytes(changed)
        with pytest.raises(StateError, match="to start the run from its beginning"):
            load_tree(tmp_path)


def test_a_reader_beside_a_commit_sees_one_state_or_the_other(tmp_path, monkeypatch):
    old, new = ({"number": k, "tensor": torch.full((2,), float(k))} for k in (1, 2))
    save_tree(tmp_path, old)
    read = saving.read_regular

    def read_and_be_overtaken(path):
        data = read(path)
        save_tree(tmp_path, new)
        return data

    monkeypatch.setattr(saving, "read_regular", read_and_be_overtaken)
    assert same(load_tree(tmp_path), old) and same(load_tree(tmp_path), new)


def test_what_a_killed_save_left_is_removed_by_the_next_one(tmp_path):
    (tmp_path / "state.safetensors.0123.partial").write_bytes(b"half")
    save_tree(tmp_path, tree(0))
    assert [path.name for path in tmp_path.iterdir()] == [MAIN]


def test_a_folder_without_a_state_is_named(tmp_path):
    with pytest.raises(StateError, match=f"in {tmp_path}/none lacks {MAIN}"):
        load_tree(tmp_path / "none")


def test_an_archive_cannot_point_outside_its_folder(tmp_path):
    save_tree(tmp_path / "elsewhere", tree(0))
    skeleton = json.dumps({"a": {"$archive": [["../elsewhere/" + MAIN, "0"]]}})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / MAIN).write_bytes(digested({}, skeleton))
    with pytest.raises(StateError, match="has changed since"):
        load_tree(tmp_path / "run")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target) -> None:
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
@pytest.mark.parametrize("pattern", [MAIN, "past-0000-*"])
def test_a_poisoned_pickle_is_refused_and_never_executed(tmp_path, writer, pattern):
    save_tree(tmp_path, tree(1))
    (path,) = tmp_path.glob(pattern)
    target = tmp_path / "executed"
    if writer == "torch":
        torch.save(Bomb(target), path)
    else:
        path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(StateError):
        load_tree(tmp_path)
    assert not target.exists()


def test_stored_parameters_are_the_floating_point_entries_that_are_not_zero():
    nodes = {
        "pruned": LowRank(torch.tensor([[0.0, 2.0, 0.0]]), torch.tensor([[1.0], [0.0]])),
        "ids": torch.tensor([1, 2, 3]),
        "deep": [torch.ones(2, 2), {"flag": torch.tensor([True]), "n": 5, "name": "x"}],
        "past": Archive([torch.ones(3)]),
    }
    assert count_stored(nodes) == 1 + 1 + 4 + 3
