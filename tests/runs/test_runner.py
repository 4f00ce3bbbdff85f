"""A run and its record: complete, consistent, reproducible."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from reference import (
    average_accuracy,
    average_anytime_accuracy,
    backward_transfer,
    forgetting,
)

from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.plugins import readout
from avalanche_ham.runs import run as live_run
from avalanche_ham.runs.config import resolve_config
from avalanche_ham.runs.lock import LOCK
from avalanche_ham.runs.records import read_records
from avalanche_ham.runs.runner import Resources, Run, RunConfig, run, run_heads

KEYS = {
    "method", "head", "scope", "benchmark", "n_tasks", "seed", "backbone", "preset",
    "hyperparameters", "versions", "class_order_hash", "test_images", "accuracy_matrix",
    "aa", "fm", "bwt", "aaa", "fwt", "a_t", "a_t_merged", "accuracy_task_known",
    "train_seconds", "eval_seconds", "peak_memory_mb", "trainable_parameters",
    "stored_parameters", "groups",
}  # fmt: skip
CPU = Resources(device="cpu")


def quick(method: str = "ham", **settings) -> RunConfig:
    return RunConfig(**{"method": method, "preset": "smoke", "n_tasks": 3, **settings})


def result(config: RunConfig, resources: Resources = CPU, **options) -> dict:
    return run(config, resources, show=False, **options)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A record as it stands in the file, of a HAM run with probes."""
    out = tmp_path_factory.mktemp("run")
    given = result(quick(), Resources(device="cpu", probes=True), out=out)
    (read,) = read_records(out)
    assert read == given
    return read


def test_a_record_says_everything_that_design_asks_of_it(record):
    assert set(record) >= KEYS
    assert record["method"] == "ham" and record["benchmark"] == "digits"
    assert record["n_tasks"] == 3 and record["seed"] == 1 and record["head"] == "linear"
    assert record["backbone"] == "tiny" and record["preset"] == "smoke"
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_matrix_is_a_triangle_of_fractions_and_null_beyond(record):
    sizes = record["test_images"]
    assert len(sizes) == 3 and sum(sizes) == 10 * 4
    for name in ("accuracy_matrix", "accuracy_task_known"):
        matrix = record[name]
        assert [len(row) for row in matrix] == [3, 3, 3]
        for t, row in enumerate(matrix):
            assert all(value is None for value in row[t + 1 :])
            for value, size in zip(row[: t + 1], sizes):
                assert value == round(value * size) / size
    rows = zip(record["accuracy_matrix"], record["accuracy_task_known"], strict=True)
    assert all(k is None or k >= a for row, known in rows for a, k in zip(row, known, strict=True))


def test_every_number_follows_from_the_matrix(record):
    matrix = record["accuracy_matrix"]
    assert record["aa"] == pytest.approx(average_accuracy(matrix))
    assert record["fm"] == pytest.approx(forgetting(matrix))
    assert record["bwt"] == pytest.approx(backward_transfer(matrix))
    assert record["aaa"] == pytest.approx(average_anytime_accuracy(matrix))
    own = [matrix[t][t] for t in range(3)]
    assert record["a_t_merged"] == pytest.approx(100 * sum(own) / 3)


def test_times_are_those_that_training_and_evaluation_took(monkeypatch):
    readings = iter([10.0, 12.5, 16.0, 100.0, 107.0, 107.25])  # start, trained, evaluated
    clock = SimpleNamespace(perf_counter=lambda: next(readings))
    monkeypatch.setattr(live_run, "time", clock)
    told = result(quick("frozen", n_tasks=2))
    assert told["train_seconds"] == [2.5, 7.0] and told["eval_seconds"] == [3.5, 0.25]


def test_the_time_of_feeding_readouts_is_told_apart_from_training(monkeypatch):
    readings = [10.0, 12.5, 14.0, 16.0, 16.5]  # start, feeding, fed, trained, evaluated
    readings += [20.0, 20.25, 28.25, 29.0, 32.0]
    clock = SimpleNamespace(perf_counter=iter(readings).__next__)
    monkeypatch.setattr(live_run, "time", clock)
    monkeypatch.setattr(readout, "time", clock)
    told = result(quick("ncm", n_tasks=2))
    assert told["feed_seconds"] == [1.5, 8.0] and told["eval_seconds"] == [0.5, 3.0]
    assert told["train_seconds"] == [4.5, 1.0]  # of 6 and of 9 seconds


def test_the_time_of_following_the_drift_is_told_apart_too(monkeypatch):
    readings = [10.0, 12.5, 14.0, 16.0, 16.5]  # start, feeding, fed, trained, evaluated
    readings += [20.0, 21.0, 21.5, 30.0, 31.0, 31.25, 33.0, 34.0, 36.0]  # looked; followed
    clock = SimpleNamespace(perf_counter=iter(readings).__next__)
    monkeypatch.setattr(live_run, "time", clock)
    monkeypatch.setattr(readout, "time", clock)
    told = result(quick("lora", n_tasks=2, head="lda_drift"))
    assert told["drift_seconds"] == [0.0, 0.75] and told["feed_seconds"] == [1.5, 2.75]
    assert told["train_seconds"] == [4.5, 10.5] and told["eval_seconds"] == [0.5, 2.0]


def test_times_and_sizes_are_told_for_every_task(record):
    for key in (
        "train_seconds",
        "eval_seconds",
        "trainable_parameters",
        "stored_parameters",
    ):
        assert len(record[key]) == 3 and all(value > 0 for value in record[key])
    assert record["stored_parameters"] == sorted(record["stored_parameters"])
    classes = [4, 3, 3]
    adapter = 3 * 16 * (48 + 144)
    for t, trained in enumerate(record["trainable_parameters"]):
        scalars = min(t, 2) + 1  # the groups' and the new adapter's
        assert trained == adapter + scalars + classes[t] * 49
    assert 50 < record["peak_memory_mb"] < 100_000
    assert len(record["groups"]["members"]) == 3 and record["scope"] == ["current"] * 3


def test_the_just_trained_accuracy_is_that_of_the_model_before_it_is_pruned_and_merged(
    record,
):
    assert 0 <= record["a_t"] <= 100
    seen = []

    def look(current: Run) -> None:
        seen.append(list(current.measured["a_t"]))

    again = result(quick(), Resources(device="cpu", probes=True), after_task=look)
    assert [len(s) for s in seen] == [1, 2, 3]
    assert again["a_t"] == record["a_t"] == pytest.approx(100 * sum(seen[-1]) / 3)
    apart = {"keep": 1.0, "max_groups": 9, "similarity_threshold": 2.0}
    same = result(quick(options=apart), Resources(device="cpu", probes=True))
    assert same["a_t"] == same["a_t_merged"]  # nothing is lost where each is a group


def test_what_a_method_has_looked_at_besides_is_told_in_percent(record):
    seen, a_t = [], []

    def look(current):
        seen.append(list(current.measured["probed"]))
        a_t[:] = current.measured["a_t"]

    told = result(
        quick("continual_ties", options={"density": 0.01, "lr": 0.05}),
        Resources(device="cpu", probes=True),
        after_task=look,
    )
    first, *later = seen[-1]
    assert first == {} and len(later) == 2  # nothing is trimmed in the first task
    trimmed, before = told["probed"]["trimmed"], told["probed"]["a_t_where_trimmed"]
    assert trimmed == pytest.approx(100 * sum(task["trimmed"] for task in later) / 2)
    assert before == pytest.approx(100 * sum(a_t[1:]) / 2)
    assert trimmed != before  # a hundredth of the entries is not enough
    assert record["probed"] == {} == result(quick("continual_ties"))["probed"]


def test_probes_change_nothing_else(record):
    without = result(quick())
    assert without["a_t"] is None and without["fwt"] is None and record["fwt"] is not None
    for key in ("accuracy_matrix", "accuracy_task_known", "groups", "stored_parameters"):
        assert without[key] == record[key]


def test_a_run_that_was_made_without_probes_is_made_anew_where_they_are_asked_for(tmp_path):
    probing, runs = Resources(device="cpu", probes=True), list[int]()

    def again(folder: str, resources: Resources, **options) -> dict:
        return result(quick(), resources, out=tmp_path / folder, resume=True, **options)

    def stop(current: Run) -> None:
        raise KeyboardInterrupt

    plain = again("finished", CPU)
    assert plain["fwt"] is None and again("finished", CPU) == plain
    found = again("finished", probing)
    assert found["fwt"] is not None and found["a_t"] is not None
    assert read_records(tmp_path / "finished") == [found]
    assert again("finished", CPU) == again("finished", probing) == found

    with pytest.raises(KeyboardInterrupt):
        again("begun", CPU, after_task=stop)
    begun = again("begun", probing, after_task=lambda run: runs.append(run.tasks_done()))
    assert runs == [1, 2, 3] and begun["fwt"] == found["fwt"]  # its state lacks the first task's


def test_a_run_that_chooses_settings_may_measure_nothing_but_the_end(tmp_path):
    held_out = quick(options={"holdout": 0.2}, head="linear,ridge")
    whole = run_heads(held_out, Resources(device="cpu"), show=False)
    final = run_heads(held_out, Resources(device="cpu", final_only=True, probes=True), show=False)
    for one, other in zip(whole, final, strict=True):
        assert other["accuracy_matrix"] == [[None] * 3, [None] * 3, one["accuracy_matrix"][2]]
        for key in ("aa", "right", "groups", "stored_parameters"):
            assert one[key] == other[key]
        for key in ("fm", "bwt", "aaa", "a_t", "a_t_merged", "fwt", "hierarchy"):
            assert other[key] is None

    def stop(current: Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # one that had begun otherwise goes on so
        run_heads(held_out, Resources(device="cpu"), out=tmp_path, show=False, after_task=stop)
    final_only = Resources(device="cpu", final_only=True)
    (mixed, _) = run_heads(held_out, final_only, out=tmp_path, resume=True, show=False)
    first = whole[0]["accuracy_matrix"]
    assert mixed["accuracy_matrix"] == [first[0], [None] * 3, first[2]]
    with pytest.raises(OptionError, match="final_only must be False without a holdout"):
        run_heads(quick(), Resources(final_only=True), show=False)


def test_the_same_configuration_gives_the_same_result_and_another_seed_another(record):
    torch.manual_seed(123)
    assert result(quick())["accuracy_matrix"] == record["accuracy_matrix"]
    other = result(quick(seed=2))
    assert other["class_order_hash"] != record["class_order_hash"]
    assert other["groups"] != record["groups"]


def test_a_run_leaves_the_user_s_random_state_alone():
    before = torch.get_rng_state()
    result(quick(n_tasks=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_joint_is_one_training_on_all_tasks_and_what_is_undefined_is_null():
    steps = []
    record = result(quick("joint"), after_task=lambda r: steps.append(r.strategy.total_steps))
    assert steps == [3 * 3]  # the budget of all tasks together
    assert record["accuracy_matrix"][:2] == [[None] * 3] * 2
    assert all(value is not None for value in record["accuracy_matrix"][2])
    assert record["aa"] == pytest.approx(average_accuracy(record["accuracy_matrix"]))
    for key in ("fm", "bwt", "aaa", "a_t", "a_t_merged"):
        assert record[key] is None
    assert len(record["train_seconds"]) == 1


def test_one_task_has_no_forgetting():
    record = result(quick(n_tasks=1))
    assert record["fm"] is None and record["bwt"] is None and record["aa"] is not None


def test_a_task_of_one_class_is_noted_with_the_scope_it_trained_under():
    record = result(quick(n_tasks=10))
    assert record["scope"] == ["seen_frozen"] * 10


@pytest.mark.parametrize("head", ["ncm", "ridge"])
def test_a_run_with_a_readout_beats_chance_with_the_readout(head):
    record = result(quick(head=head, options={"steps": 20}))
    assert record["head"] == head and record["aa"] > 20


def test_several_heads_are_measured_in_one_run_each_as_if_alone(tmp_path):
    result(quick(head="linear,ncm"), out=tmp_path)
    records = read_records(tmp_path)
    assert [r["head"] for r in records] == ["linear", "ncm"]
    for found in records:
        alone = result(quick(head=found["head"]))
        for key in ("accuracy_matrix", "groups", "stored_parameters"):
            assert found[key] == alone[key]
    assert records[0]["accuracy_matrix"] != records[1]["accuracy_matrix"]


def test_a_folder_serves_one_run_at_a_time_and_is_free_afterwards(tmp_path):
    refusals = []

    def second(current):
        with pytest.raises(HamError, match="in use by another process") as caught:
            result(quick(seed=2), out=tmp_path, resume=True)
        refusals.append(caught.value)

    record = result(quick(), out=tmp_path, after_task=second)
    assert len(refusals) == 3 and read_records(tmp_path) == [record]
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize(
    ("benchmark", "passed"),
    [
        ("cifar100", True),
        ("cub200", True),
        ("tiny_imagenet", True),
        ("digits", False),
        ("image_folder", False),
    ],
)
def test_download_is_passed_to_the_benchmarks_that_have_it(benchmark, passed, monkeypatch):
    def create(name, **options):
        assert (name, "download" in options) == (benchmark, passed)
        raise KeyboardInterrupt  # that is all

    monkeypatch.setattr(live_run, "create_benchmark", create)
    with pytest.raises(KeyboardInterrupt):
        result(quick(benchmark=benchmark), Resources(device="cpu", download=True))


@pytest.mark.parametrize("method", ["ncm", "ridge"])
def test_a_method_that_is_its_readout_brings_its_head(method):
    record = result(quick(method))
    assert record["head"] == method and record["trainable_parameters"] == [0, 0, 0]
    assert record["aa"] > 20


def test_options_of_the_data_and_of_the_method_both_reach_the_run():
    config = quick(options={"test_per_class": 2, "keep": 0.5, "epochs": 1})
    current = Run(resolve_config(config), CPU, show=False)
    assert [len(e.dataset) for e in current.benchmark.test_stream] == [8, 6, 6]
    assert current.strategy.grouping.keep == 0.5
    assert current.strategy.steps is None and current.strategy.train_epochs == 1
    described = current.identity()["hyperparameters"]
    assert described["keep"] == 0.5 and described["test_per_class"] == 2


def test_a_number_that_is_not_finite_never_reaches_a_record(record):
    def numbers(node):
        if isinstance(node, dict):
            node = list(node.values())
        if isinstance(node, list):
            for value in node:
                yield from numbers(value)
        elif isinstance(node, float):
            yield node

    found = list(numbers(record))
    assert len(found) > 20 and all(map(math.isfinite, found))


def test_every_head_s_record_says_how_often_the_task_was_guessed_right(monkeypatch):
    calls = []
    monkeypatch.setattr(live_run, "right_picks", lambda *_: calls.append(1) or [0.5, 0.25])
    config = RunConfig("dual_prompt", "digits", n_tasks=2, preset="smoke", head="linear,ncm")
    records = run_heads(config, Resources(device="cpu"), show=False)
    assert [record["right_picks"] for record in records] == [[0.5, 0.25]] * 2
    assert len(calls) == 1
