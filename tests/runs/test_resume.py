"""A run that is cut short anywhere and resumed ends as if nothing had happened."""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal

import pytest
import torch
from killed_run import CONFIG, PLACES, RESOURCES, run_and_die, run_and_die_at_call
from sampling import some_of
from toys import differing, state_of

from avalanche_ham.errors import HamError, StateError
from avalanche_ham.runs.records import read_records
from avalanche_ham.runs.runner import RunConfig, run
from avalanche_ham.runs.saving import load_tree
from avalanche_ham.strategies.registry import METHODS

RESUMABLE = [method for method in METHODS if method != "joint"]
QUICK_PLACE = "inside a task"
EXACT = (
    "accuracy_matrix",
    "accuracy_task_known",
    "aa",
    "groups",
    "stored_parameters",
    "scope",
)


class Cut(Exception):
    """What ends a run from within."""


def finish(config: RunConfig, **options):
    """Run to the end; the record and every tensor of the final model."""
    states = []
    record = run(
        config,
        RESOURCES,
        show=False,
        after_task=lambda current: states.append(state_of(current.strategy.model)),
        **options,
    )
    return record, states[-1] if states else None


def assert_same(x, y) -> None:
    (record, state), (other, other_state) = x, y
    for key in EXACT:
        assert record[key] == other[key], key
    if state is not None and other_state is not None:
        assert not differing(state, other_state)


def start_and_cut(config: RunConfig, out, after: int = 1) -> None:
    """Run, and be cut off after so many tasks."""

    def cut(current):
        if current.tasks_done() == after:
            raise Cut

    with pytest.raises(Cut):
        run(config, RESOURCES, out=out, show=False, after_task=cut)


@pytest.fixture(scope="module")
def whole():
    """The run of ``killed_run`` without any interruption."""
    return finish(CONFIG)


def until_it_dies(target, *args) -> int:
    """Run a function in a process of its own; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_run", "avalanche_ham.strategies.ham"])
    process = context.Process(target=target, args=args)
    process.start()
    process.join(120)
    return process.exitcode


@pytest.mark.parametrize("place", some_of(["between tasks", *PLACES], QUICK_PLACE))
def test_a_killed_process_is_resumed_to_the_same_result_bit_by_bit(tmp_path, whole, place):
    assert until_it_dies(run_and_die, place, str(tmp_path)) == -signal.SIGKILL
    done = len(load_tree(tmp_path / "state")["measured"]["train_seconds"])
    assert done == (3 if place == "renaming the record" else 1)
    assert not (tmp_path / "records.jsonl").exists()
    assert_same(finish(CONFIG, out=tmp_path, resume=True), whole)
    assert len(read_records(tmp_path)) == 3  # one a head


@functools.cache
def whole_run(method: str):
    """A short run of a method, and what it ends with."""
    config = RunConfig(method=method, preset="smoke", n_tasks=3, options={"eval_batch_size": 64})
    return config, finish(config)


@pytest.mark.stress
@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("method", RESUMABLE)
def test_every_method_is_killed_at_every_write_and_resumed(tmp_path, method, call, count):
    config, expected = whole_run(method)
    code = until_it_dies(run_and_die_at_call, config, call, count, str(tmp_path))
    if code != 0:  # a run that makes fewer such calls ends by itself
        assert code == -signal.SIGKILL
    else:
        assert (tmp_path / "records.jsonl").exists()
    assert_same(finish(config, out=tmp_path, resume=True), expected)


@pytest.mark.parametrize("method", some_of(RESUMABLE, "ham", "lora_ewc", "sema", "ncm"))
def test_every_method_resumes_to_the_same_result_bit_by_bit(tmp_path, method):
    config, expected = whole_run(method)
    start_and_cut(config, tmp_path)
    torch.manual_seed(99)  # the random state of the new process must not matter
    assert_same(finish(config, out=tmp_path, resume=True), expected)


def test_the_joint_run_is_one_piece_and_its_finished_state_needs_no_training(tmp_path):
    config = RunConfig(method="joint", preset="smoke", n_tasks=2)
    expected, _ = finish(config)
    with pytest.raises(Cut):
        run(config, RESOURCES, out=tmp_path, show=False, after_task=_cut)
    record, state = finish(config, out=tmp_path, resume=True)
    assert state is None and record["accuracy_matrix"] == expected["accuracy_matrix"]
    assert record["accuracy_matrix"][0] == [None, None]


def _cut(current) -> None:
    raise Cut


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory):
    """A folder with a run cut off after its first task."""
    out = tmp_path_factory.mktemp("cut")
    start_and_cut(CONFIG, out)
    return out


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A folder with the same run, finished."""
    out = tmp_path_factory.mktemp("finished")
    run(CONFIG, RESOURCES, out=out, show=False)
    return out


@pytest.fixture
def folder(cut_run, tmp_path):
    """A copy of that folder to spoil."""
    return shutil.copytree(cut_run, tmp_path / "run")


def test_resuming_with_nothing_saved_starts_afresh(tmp_path, whole):
    assert_same(finish(CONFIG, out=tmp_path / "new", resume=True), whole)


@pytest.mark.parametrize("resume", [False, True])
def test_what_lies_in_the_place_of_the_run_s_files_is_named_before_anything_trains(
    tmp_path, resume, monkeypatch
):
    (tmp_path / "one" / "records.jsonl").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "state").touch()
    monkeypatch.setattr("avalanche_ham.runs.run.Run.next_task", None)
    for name, said in (("one", r"records\.jsonl is a folder"), ("two", "state is a file")):
        with pytest.raises(HamError, match=f"^out: .*{said}"):
            run(CONFIG, RESOURCES, out=tmp_path / name, resume=resume)


def test_a_finished_run_gives_its_record_without_running_again(finished_run):
    first = read_records(finished_run)
    again, state = finish(CONFIG, out=finished_run, resume=True)
    assert state is None and again in first
    assert read_records(finished_run) == first and len(first) == 3


def test_a_folder_that_holds_a_run_is_not_overwritten(folder):
    before = {p.name: p.read_bytes() for p in (folder / "state").iterdir()}
    with pytest.raises(HamError, match="holds a run already; add --resume"):
        run(CONFIG, RESOURCES, out=folder, show=False)
    assert {p.name: p.read_bytes() for p in (folder / "state").iterdir()} == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 2}, "seed: 1 there, 2 given"),
        ({"method": "lora"}, "method: ham there, lora given"),
        ({"n_tasks": 4}, "tasks: 3 there, 4 given"),
        ({"head": "linear"}, "head: linear,ridge,lda_drift there, linear given"),
        ({"options": {"rank": 5}}, "rank: 4 there, 5 given"),
        (
            {"options": {"rank": 5, "train_per_class": 9}},
            "rank: 4 there, 5 given; train_per_class: 8 there, 9 given",
        ),
        ({"options": {"rank": 4, "holdout": 0.5}}, "holdout: none there, 0.5 given"),
    ],
)
@pytest.mark.parametrize("state", ["cut_run", "finished_run"])
def test_another_run_s_folder_is_refused_by_what_differs(request, change, named, state):
    folder = request.getfixturevalue(state)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    other = RunConfig(**{**CONFIG.__dict__, **change})
    with pytest.raises(StateError, match=f"out: {folder} holds another run: {named}$"):
        run(other, RESOURCES, out=folder, resume=True, show=False)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def first_adapter(folder):
    return next(p for p in sorted((folder / "state").iterdir()) if p.name != "state.safetensors")


@pytest.mark.parametrize("spoil", ["truncate", "empty", "foreign", "change"])
@pytest.mark.parametrize("which", ["state", "adapter"])
def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(folder, spoil, which):
    path = folder / "state" / "state.safetensors" if which == "state" else first_adapter(folder)
    data = path.read_bytes()
    if spoil == "change" and which == "state":
        changed = data.replace(b'\\"seed\\": 1', b'\\"seed\\": 7')
    else:
        changed = {
            "truncate": data[:-9],
            "empty": b"",
            "foreign": b"x" * 500,
            "change": data[:-1] + bytes([data[-1] ^ 1]),
        }[spoil]
    path.write_bytes(changed)
    before = {p.name: p.read_bytes() for p in (folder / "state").iterdir()}
    with pytest.raises(StateError):
        run(CONFIG, RESOURCES, out=folder, resume=True, show=False)
    assert {p.name: p.read_bytes() for p in (folder / "state").iterdir()} == before
    assert not (folder / "records.jsonl").exists()


def test_an_adapter_that_is_missing_is_named(folder):
    path = first_adapter(folder)
    path.unlink()
    with pytest.raises(StateError, match=f"lacks {path.name}"):
        run(CONFIG, RESOURCES, out=folder, resume=True, show=False)


def test_a_poisoned_pickle_in_place_of_the_state_is_refused_and_not_executed(folder):
    target = folder / "executed"
    code = b"cos\nsystem\n(S'touch " + os.fsencode(target) + b"'\ntR."
    (folder / "state" / "state.safetensors").write_bytes(code)
    with pytest.raises(StateError):
        run(CONFIG, RESOURCES, out=folder, resume=True, show=False)
    assert not target.exists()
